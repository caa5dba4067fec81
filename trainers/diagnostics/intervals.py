"""Intervals of statistics of states, which are not independent: whole clusters are resampled.

Shapes: S states, C clusters, B resamples.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

LEVEL = 0.95
RESAMPLES = 1000
GROUPS = 20  # that a jackknife leaves out one of, at most


class Number(TypedDict):
    """A statistic of `n` states in `clusters` independent units.

    value: none where the states do not determine it. low, high: none where one unit alone, or no
    resample, determines it.
    """

    value: float | None
    low: float | None
    high: float | None
    level: float
    n: int
    clusters: int
    method: str


def bootstrap(
    statistic: Callable[[Indices], float], clusters: Sequence[str] | NDArray[np.str_]
) -> Number:
    """Percentile bootstrap over clusters of a statistic of states.

    statistic: of the states with these indices, `(M,)`, a state of a cluster that was drawn twice
    standing there twice; NaN where it does not exist. clusters: of each state, `(S,)`.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, ch. 13.
    """
    members = _members(clusters)
    everything = np.arange(len(clusters))
    value = statistic(everything) if len(everything) else np.nan
    spread = np.array(
        [
            statistic(np.concatenate([members[one] for one in drawn]))
            for drawn in (_draws(len(members)) if len(members) > 1 else [])
        ]
    )
    return _number(value, spread, len(everything), len(members))


def bootstrap_mean(values: Floats, clusters: Sequence[str] | NDArray[np.str_]) -> Number:
    """`bootstrap` of the mean of `(S,)` values, without going through the states each time."""
    members = _members(clusters)
    sums = np.array([values[one].sum() for one in members])
    counts = np.array([len(one) for one in members])
    value = float(sums.sum() / counts.sum()) if members else np.nan
    drawn = _draws(len(members)) if len(members) > 1 else np.empty((0, 0), np.intp)
    spread = sums[drawn].sum(1) / counts[drawn].sum(1) if len(drawn) else np.empty(0)
    return _number(value, spread, len(values), len(members))


def bootstrap_correlation(
    one: Floats, other: Floats, clusters: Sequence[str] | NDArray[np.str_]
) -> Number:
    """`bootstrap` of Pearson's r of `(S,)` values, without going through the states each time."""
    members = _members(clusters)
    if not members:
        return _number(np.nan, np.empty(0), 0, 0)
    x, y = (each - each.mean() for each in (one, other))
    products = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], -1)
    sums = np.array([products[each].sum(0) for each in members])
    drawn = _draws(len(members)) if len(members) > 1 else np.empty((0, 1), np.intp)
    return _number(
        float(_correlation(sums.sum(0))), _correlation(sums[drawn].sum(1)), len(x), len(members)
    )


def _correlation(sums: Floats) -> Floats:
    """Pearson's r from sums `(…, 6)` of 1, x, y, x², y² and xy; NaN where one does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
    exists = spread > 1e-24 * (n * xx) * (n * yy)
    found: Floats = np.where(
        exists, (n * xy - x * y) / np.sqrt(np.where(exists, spread, 1)), np.nan
    )
    return found


def jackknife(
    statistic: Callable[[Indices], float], clusters: Sequence[str] | NDArray[np.str_]
) -> Number:
    """Normal interval from leaving out one cluster at a time, or one of twenty groups of clusters.

    For statistics that repeated states distort, such as a rank. Source: Efron and Tibshirani,
    ch. 11.
    """
    members = _members(clusters)
    number = len(members)
    if number > GROUPS:
        members = [np.concatenate(members[place::GROUPS]) for place in range(GROUPS)]
    everything = np.arange(len(clusters))
    value = statistic(everything) if len(everything) else np.nan
    count = len(members)
    if count < 2:
        return _number(value, np.empty(0), len(everything), number)
    left = [np.concatenate(members[:one] + members[one + 1 :]) for one in range(count)]
    found = np.array([statistic(one) for one in left])
    error = float(np.sqrt((count - 1) / count * ((found - found.mean()) ** 2).sum()))
    bounds = np.array([value - 1.959964 * error, value + 1.959964 * error])
    return _number(value, bounds, len(everything), number, "jackknife over clusters")


def _number(
    value: float,
    spread: Floats,
    states: int,
    clusters: int,
    method: str = "bootstrap percentile over clusters",
) -> Number:
    spread = spread[np.isfinite(spread)]
    tail = (1 - LEVEL) / 2
    exists = len(spread) > 0 and bool(np.isfinite(value))
    ends = [0.0, 1.0] if method.startswith("jackknife") else [tail, 1 - tail]
    low, high = np.quantile(spread, ends) if exists else (np.nan, np.nan)
    return Number(
        value=float(value) if np.isfinite(value) else None,
        low=float(low) if exists else None,
        high=float(high) if exists else None,
        level=LEVEL,
        n=states,
        clusters=clusters,
        method=method,
    )


def _members(clusters: Sequence[str] | NDArray[np.str_]) -> list[Indices]:
    """Indices of each cluster's states, clusters in the order of their names."""
    if not len(clusters):
        return []
    _, owner = np.unique(np.asarray(clusters), return_inverse=True)
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.cumsum(np.bincount(owner))[:-1])


def _draws(clusters: int) -> Indices:
    """Which clusters each resample has, `(B, C)`; the same for the same number of clusters."""
    return np.random.default_rng(0).integers(0, clusters, (RESAMPLES, clusters), np.intp)
