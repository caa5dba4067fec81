"""Confidence intervals of means and shares. The one place where anything is resampled."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.scoring.records import DEFAULT, Interval, Rate, Resampling

_BATCH_VALUES = 500_000  # values held at once while resampling: 4 MB


class Bootstrap(NamedTuple):
    """An interval and the resampled means behind it."""

    interval: Interval
    distribution: NDArray[np.float64]


def bootstrap_mean(
    values: Sequence[float],
    *,
    clusters: Sequence[str] | None = None,
    how: Resampling = DEFAULT,
) -> Bootstrap:
    """Percentile bootstrap of a mean: values resampled, or whole clusters where given.

    The result depends on the values (or clusters) and not on their order. Raises ValueError when
    there are none. Source: Efron and Tibshirani, An Introduction to the Bootstrap, ch. 13;
    `scipy.stats.bootstrap`.
    """
    if not len(values):
        raise ValueError("no values to resample")
    from scipy.stats import bootstrap

    samples = _samples(values, clusters)
    units = len(samples[0])
    value = min(max(float(_mean(*samples)), min(values)), max(values))
    method = "bootstrap percentile" + (" over clusters" if clusters is not None else "")
    if units == 1 or min(values) == max(values):
        same = Interval(value=value, low=value, high=value, level=how.level, n=units, method=method)
        return Bootstrap(same, np.full(how.n_resamples, value))
    result = bootstrap(
        samples,
        _mean,
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=how.level,
        n_resamples=how.n_resamples,
        batch=max(1, _BATCH_VALUES // units),
        rng=np.random.default_rng(how.seed),
    )
    low, high = sorted(map(float, result.confidence_interval))  # rounding may swap equal ones
    interval = Interval(
        value=value,
        low=low,
        high=high,
        level=how.level,
        n=units,
        method=method,
    )
    return Bootstrap(interval, result.bootstrap_distribution)


def bootstrap_ratio(
    above: Sequence[float], below: Sequence[float], *, how: Resampling = DEFAULT
) -> Interval | None:
    """Percentile bootstrap of `mean(above) / mean(below)`, pairs resampled together.

    None where the mean below is 0, or the resampled ones are of both signs more often than an
    interval of this level leaves out: then no bound holds. Raises ValueError when there are none.
    """
    if not above or len(above) != len(below):
        raise ValueError(f"{len(above)} values over {len(below)}: pairs are needed")
    pairs = np.asarray(sorted(zip(above, below, strict=True)), dtype=np.float64)
    value = pairs.mean(axis=0)
    generator = np.random.default_rng(how.seed)
    drawn = np.stack(
        [
            pairs[generator.integers(0, len(pairs), len(pairs))].mean(axis=0)
            for _ in range(how.n_resamples)
        ]
    )
    usable = drawn[:, 1] * np.sign(value[1]) > 0
    if value[1] == 0 or 1 - usable.mean() > (1 - how.level) / 2:
        return None
    tail = (1 - how.level) / 2
    low, high = np.quantile(drawn[usable, 0] / drawn[usable, 1], [tail, 1 - tail])
    return Interval(
        value=float(value[0] / value[1]),
        low=float(low),
        high=float(high),
        level=how.level,
        n=len(pairs),
        method="bootstrap percentile of a ratio",
    )


def wilson(count: float, n: int, *, level: float = DEFAULT.level) -> Interval:
    """Wilson's score interval of a share. `count` may be a sum of shares, one per instance,
    which makes the interval conservative. Raises ValueError unless 0 ≤ count ≤ n and n ≥ 1.

    Source: Wilson, Probable Inference, JASA 22 (1927); `statsmodels.stats.proportion`.
    """
    if not 0 <= count <= n or n < 1:
        raise ValueError(f"{count} of {n} is not a share")
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, n, alpha=1 - level, method="wilson")
    return Interval(
        value=count / n,
        low=float(low) if count else 0.0,  # exactly 0 and 1 at the ends, but for rounding
        high=float(high) if count < n else 1.0,
        level=level,
        n=n,
        method="Wilson score",
    )


def rate(shares: Sequence[float], how: Resampling = DEFAULT) -> Rate:
    """The mean of one share per instance, with both intervals and a note where they degenerate.

    Raises ValueError when there is no instance.
    """
    n = len(shares)
    bootstrap = bootstrap_mean(shares, how=how).interval
    return Rate(
        bootstrap=bootstrap,
        wilson=wilson(bootstrap.value * n, n, level=how.level),
        note="" if bootstrap.low < bootstrap.high else _note(bootstrap.value, n, how.level),
    )


def _note(value: float, n: int, level: float) -> str:
    if 0 < value < 1:
        return f"the same share in all {n}: a bootstrap interval has no width here, see Wilson's"
    bound = min(1.0, -math.log(1 - level) / n)  # 3/n at 95 %
    what = "none" if value == 0 else "all"
    limit = f"below {bound:.1%}" if value == 0 else f"above {1 - bound:.1%}"
    return (
        f"{what} of {n} resolved: a bootstrap interval has no width here, see Wilson's; "
        f"with {level:.0%} confidence the rate is {limit} (rule of three)"
    )


def _samples(
    values: Sequence[float], clusters: Sequence[str] | None
) -> tuple[NDArray[np.float64], ...]:
    """The values, or the sum and size of every cluster, in an order of their own."""
    if clusters is None:
        return (-np.sort(-np.asarray(values, dtype=np.float64)),)
    members: dict[str, list[float]] = {}
    for name, value in zip(clusters, values, strict=True):
        members.setdefault(name, []).append(value)
    pairs = sorted(((sum(sorted(one)), len(one)) for one in members.values()), reverse=True)
    sums, sizes = np.asarray(pairs, dtype=np.float64).T
    return sums, sizes


def _mean(
    sums: NDArray[np.float64], sizes: NDArray[np.float64] | None = None, *, axis: int = -1
) -> Any:
    if sizes is None:
        return np.mean(sums, axis=axis)
    return np.sum(sums, axis=axis) / np.sum(sizes, axis=axis)
