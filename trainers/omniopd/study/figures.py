"""Errors and correlations of the estimates, from kept samples.

Shapes: S chunks, N continuations of each.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from trainers.diagnostics.intervals import Floats, Number, bootstrap_correlation, bootstrap_mean
from trainers.omniopd.posterior import frequentist, posterior
from trainers.omniopd.similarity import SIMILARITIES
from trainers.omniopd.study.measure import Sample

TARGETS = {
    "per teacher token": "geometric mean over the teacher's tokens of the chunk",
    "per student token": "the path's probability to the power of one over the student's tokens",
    "path": "the path's probability itself: the product over the teacher's tokens",
}


class Row(TypedDict):
    """Table 3's: a similarity and a number of continuations.

    mse_difference: Bayesian minus frequentist, of the same chunks. noise: how much of the
    frequentist error more continuations would remove, the mean of s²/N; the rest is how far the
    similarity's mean is from the target.
    """

    target: str
    similarity: str
    rollouts: int
    mse_frequentist: Number
    mse_bayesian: Number
    mse_difference: Number
    noise: float
    pearson_frequentist: Number
    pearson_bayesian: Number


class Estimates:
    """Columns `(S,)` of all chunks."""

    def __init__(self, samples: Sequence[Sample], strength: float) -> None:
        self.samples = samples
        self.strength = strength
        self.groups = [one.group for one in samples]
        self.prior = np.array([one.prior for one in samples])
        total = np.array([one.log_prob for one in samples])
        theirs = np.array([one.teacher_tokens for one in samples])
        mine = np.array([one.end - one.start for one in samples])
        exact = (np.exp(total / theirs), np.exp(total / mine), np.exp(total))
        self.targets: dict[str, Floats] = dict(zip(TARGETS, exact, strict=True))
        if (theirs == mine).all():
            del self.targets["per student token"]
        self.scores: dict[str, Floats] = {
            name: np.array([phi.all(one.text, one.continuations) for one in samples])
            for name, phi in SIMILARITIES.items()
        }

    def of(self, similarity: str, count: int) -> tuple[Floats, Floats]:
        """Frequentist and Bayesian estimates from the first `count` continuations."""
        evidence = self.scores[similarity][:, :count].sum(-1)
        bayesian = posterior(evidence, count, self.prior, self.strength)
        return frequentist(evidence, count), bayesian


def rows(found: Estimates, rollouts: Sequence[int]) -> list[Row]:
    """A row for each target, similarity and number of continuations."""
    return [
        _row(found, target, similarity, count)
        for target in found.targets
        for similarity in SIMILARITIES
        for count in rollouts
    ]


def summary(found: Estimates, table: Sequence[Row]) -> dict[str, Any]:
    """What holds over the whole table, and how good the prior is alone."""
    return {
        target: {
            "mean": float(exact.mean()),
            "prior_alone_mse": _mean((found.prior - exact) ** 2, found),
            "prior_alone_pearson": _pearson(found.prior, exact, found),
            "rows": len(mine := [row for row in table if row["target"] == target]),
            "bayesian_mse_lower": sum(_value(row["mse_difference"]) < 0 for row in mine),
            "surely": sum((row["mse_difference"]["high"] or 0) < 0 for row in mine),
            "surely_higher": sum((row["mse_difference"]["low"] or 0) > 0 for row in mine),
            "bayesian_pearson_higher": sum(
                _value(row["pearson_bayesian"]) > _value(row["pearson_frequentist"]) for row in mine
            ),
        }
        for target, exact in found.targets.items()
    }


def _row(found: Estimates, target: str, similarity: str, count: int) -> Row:
    exact = found.targets[target]
    plain, bayesian = found.of(similarity, count)
    errors = [(each - exact) ** 2 for each in (plain, bayesian)]
    scores = found.scores[similarity][:, :count]
    return Row(
        target=target,
        similarity=similarity,
        rollouts=count,
        mse_frequentist=_mean(errors[0], found),
        mse_bayesian=_mean(errors[1], found),
        mse_difference=_mean(errors[1] - errors[0], found),
        noise=float((scores.var(-1, ddof=1) / count).mean()),
        pearson_frequentist=_pearson(plain, exact, found),
        pearson_bayesian=_pearson(bayesian, exact, found),
    )


def _mean(values: Floats, found: Estimates) -> Number:
    return bootstrap_mean(values, found.groups)


def _pearson(one: Floats, other: Floats, found: Estimates) -> Number:
    return bootstrap_correlation(one, other, found.groups)


def _value(number: Number) -> float:
    return np.nan if number["value"] is None else number["value"]
