"""How well a score of states, such as ρ, agrees with a reference, such as the teacher's success.

ρ*, the reference reliability of a state, is the share of the teacher's own rollouts from it that
succeed. Source: CHOP App. C.

Shapes: S states.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from trainers.diagnostics.intervals import (
    Floats,
    Indices,
    Number,
    bootstrap,
    bootstrap_mean,
)

Names = Sequence[str] | NDArray[np.str_]


class Decile(TypedDict):
    """States whose score lies in one tenth of the score's distribution, the lowest first.

    low, high: of the score. share: of all states. columns: means of other numbers, over the states
    that have them.
    """

    decile: int
    low: float
    high: float
    n: int
    share: float
    score: Number
    columns: dict[str, Number]


class Disagreement(NamedTuple):
    """Shares of states where score and reference contradict each other. Source: CHOP App. C.1."""

    confidently_wrong: Number  # F1: score above 0.7, reference below 0.3
    needlessly_doubted: Number  # F2: score below 0.3, reference above 0.7


def spearman(first: Floats, second: Floats, clusters: Names) -> Number:
    """Rank correlation of `(S,)` and `(S,)`, over the states that have both."""
    from scipy.stats import rankdata

    both = np.isfinite(first) & np.isfinite(second)
    one, two = first[both], second[both]

    def statistic(chosen: Indices) -> float:
        ranks = np.stack([rankdata(one[chosen]), rankdata(two[chosen])])
        if np.ptp(ranks, axis=1).min() == 0:
            return float("nan")
        return float(np.corrcoef(ranks)[0, 1])

    return bootstrap(statistic, np.asarray(clusters)[both])


def decile_of(score: Floats, bins: int = 10) -> Indices:
    """The decile of each state, from 0; equal scores stay together, so that one may be empty."""
    edges: Floats = np.quantile(score, np.arange(1, bins) / bins) if len(score) else np.empty(0)
    return np.searchsorted(edges, score, side="left").astype(np.intp)


def deciles(
    score: Floats, columns: Mapping[str, Floats], clusters: Names, bins: int = 10
) -> list[Decile]:
    """A row for each decile of the score that has states, with means of the columns.

    score: `(S,)`, finite; columns: `(S,)`, NaN where a state has none.
    """
    where, names = decile_of(score, bins), np.asarray(clusters)
    rows = []
    for number in range(bins):
        inside = where == number
        if not inside.any():
            continue
        means = {}
        for name, values in columns.items():
            there = inside & np.isfinite(values)
            means[name] = bootstrap_mean(values[there], names[there])
        rows.append(
            Decile(
                decile=number + 1,
                low=float(score[inside].min()),
                high=float(score[inside].max()),
                n=int(inside.sum()),
                share=float(inside.mean()),
                score=bootstrap_mean(score[inside], names[inside]),
                columns=means,
            )
        )
    return rows


def calibration_error(score: Floats, reference: Floats, clusters: Names, bins: int = 10) -> Number:
    """ECE: mean over states of |mean score - mean reference| of the state's decile of the score.

    Over the states that have a reference. Deciles are made anew in each resample.
    Source: CHOP App. C.1; Naeini et al. 2015.
    """
    there = np.isfinite(reference)
    one, two = score[there], reference[there]

    def statistic(chosen: Indices) -> float:
        where = decile_of(one[chosen], bins)
        gaps = np.bincount(where, one[chosen] - two[chosen], bins)
        return float(np.abs(gaps).sum() / len(chosen))

    return bootstrap(statistic, np.asarray(clusters)[there])


def disagreement(score: Floats, reference: Floats, clusters: Names) -> Disagreement:
    """How often the score is sure of what fails, and doubts what succeeds."""
    there = np.isfinite(reference)
    one, two, names = score[there], reference[there], np.asarray(clusters)[there]
    wrong = (one > 0.7) & (two < 0.3)
    doubted = (one < 0.3) & (two > 0.7)
    return Disagreement(
        bootstrap_mean(wrong.astype(np.float64), names),
        bootstrap_mean(doubted.astype(np.float64), names),
    )


def gate_error(
    trusted: NDArray[np.bool_], alignment: Floats, boundary: float, clusters: Names
) -> Number:
    """`Pr[trusted | α < α*] + Pr[not trusted | α ≥ α*]`, over the states that have an α.

    NaN where no state lies on one of the sides. Source: CHOP §4.5.
    """
    there = np.isfinite(alignment)
    trust, high = trusted[there], alignment[there] >= boundary

    def statistic(chosen: Indices) -> float:
        one, two = trust[chosen], high[chosen]
        if two.all() or not two.any():
            return float("nan")
        return float(one[~two].mean() + (~one[two]).mean())

    return bootstrap(statistic, np.asarray(clusters)[there])
