"""Theorems 4.1 and 4.2: what the estimate does to the gradient. Source: OmniOPD §4.1, §4.2.

The estimator, the similarities, the loss and its divergences are the project's; bounds and closed
forms are written out here.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.trainers.omniopd.audited import AUDITED, SAMPLED, STUDENT, UNAUDITED, begun, loss, slope
from trainers.losses.divergences import kl
from trainers.omniopd.posterior import frequentist, posterior
from trainers.omniopd.similarity import SIMILARITIES, SimilarityName

Floats = NDArray[np.float64]

CHUNK = "x = a + b  # sum"
SAID = ("x = a + b  # sum", "x = b + a", "return a + b", "y = 0  # nothing", "pass")
CHANCES = (0.15, 0.25, 0.2, 0.1, 0.3)
DRAWS = 40_000


class Teacher(NamedTuple):
    """What similarities are drawn from."""

    scores: Floats
    chances: Floats

    @property
    def mean(self) -> float:
        return float(self.scores @ self.chances)

    @property
    def variance(self) -> float:
        return float((self.scores - self.mean) ** 2 @ self.chances)

    def evidence(self, count: int, seed: int = 0) -> Floats:
        """k of `DRAWS` independent audits with `count` continuations each."""
        drawn = np.random.default_rng(seed).multinomial(count, self.chances, DRAWS)
        found: Floats = drawn @ self.scores
        return found


def saying(name: SimilarityName) -> Teacher:
    return Teacher(np.array(SIMILARITIES[name].all(CHUNK, SAID)), np.array(CHANCES))


COIN = Teacher(np.array([0.0, 1.0]), np.array([0.5, 0.5]))  # of the largest variance there is
TEACHERS = {"edit": saying("edit"), "rouge_1": saying("rouge_1"), "exact": saying("exact")}
TEACHERS["coin"] = COIN
teachers = pytest.mark.parametrize("teacher", TEACHERS.values(), ids=TEACHERS.keys())


def scores_of_tokens() -> Tensor:
    """`∇ log p(y_t)` at the logits of each token, `(12, 6)`."""
    score: Tensor = torch.eye(6, dtype=torch.float64)[SAMPLED] - STUDENT.softmax(-1)
    return score


# Theorem 4.1: gradient stability.


@pytest.mark.parametrize("evidence", [0.0, 0.3, 7.0, 10.0])
def test_the_gradient_is_bounded_by_the_students_score(tmp_path: Path, evidence: float) -> None:
    bound = scores_of_tokens()[AUDITED].norm(dim=-1)
    for mean in (1e-9, 0.5, 1.0):
        target = float(posterior(evidence, 10, mean, 1.0))
        method = begun(tmp_path, [target, target], anchor=0)
        found = slope(STUDENT, partial(loss, method))
        assert bool((found[AUDITED].norm(dim=-1) <= bound * (1 + 1e-6)).all())  # Eq. 11
        assert float(found[UNAUDITED].abs().max()) == 0
    if evidence == 10:  # and no smaller bound would hold
        torch.testing.assert_close(found[AUDITED].norm(dim=-1), bound, rtol=1e-6, atol=0)


def test_the_gradient_of_the_reverse_kl_is_not() -> None:
    norms = []
    for small in (1e-2, 1e-8, 1e-32, 1e-128):
        log_q = torch.tensor([small, *[(1 - small) / 5] * 5], dtype=torch.float64).log()
        uniform = torch.zeros(6, dtype=torch.float64)
        norms.append(float(slope(uniform, partial(reverse_kl, log_q)).norm()))
    assert norms == sorted(norms)
    assert norms[-1] > 3 * norms[-2] > 3 * np.sqrt(2)  # no score of a token is above √2


def reverse_kl(log_q: Tensor, logits: Tensor) -> Tensor:
    return kl(logits.log_softmax(-1), log_q)


@pytest.mark.parametrize("strength", [0.1, 1.0, 5.0])
def test_no_match_leaves_a_signal(tmp_path: Path, strength: float) -> None:
    rng = np.random.default_rng(0)
    evidence, mean = rng.random(500) * 10 * (rng.random(500) < 0.5), rng.random(500)
    floor = strength * mean / (10 + strength)
    found = posterior(evidence, 10, mean, strength)
    assert (found >= floor).all()  # Eq. 12
    assert (floor > 0).all()
    assert found[evidence == 0] == pytest.approx(floor[evidence == 0], rel=1e-12)
    signals = []
    for target in (float(found[evidence == 0][0]), float(frequentist(0.0, 10))):
        method = begun(tmp_path, [target, target], anchor=0)
        signals.append(float(slope(STUDENT, partial(loss, method)).norm()))
    assert signals[0] > 0 == signals[1]


@teachers
@pytest.mark.parametrize(("count", "strength"), [(1, 1.0), (10, 1.0), (10, 4.0), (20, 0.5)])
def test_bias_and_variance(teacher: Teacher, count: int, strength: float) -> None:
    mean = 0.7
    found = posterior(teacher.evidence(count), count, mean, strength)
    bias = strength * (mean - teacher.mean) / (count + strength)
    variance = count * teacher.variance / (count + strength) ** 2
    apart = found - found.mean()
    spread = apart.std() / np.sqrt(DRAWS)
    spread_of_variance = np.sqrt(((apart**4).mean() - apart.var() ** 2) / DRAWS)
    assert abs(found.mean() - teacher.mean - bias) < 4 * spread
    assert abs(found.var() - variance) < 4 * spread_of_variance + 1e-12
    error = ((found - teacher.mean) ** 2).mean()
    assert error == pytest.approx(variance + bias**2, rel=0.05)  # Eq. 13
    assert teacher.variance <= 0.25 + 1e-12
    plain = frequentist(teacher.evidence(count), count)
    shrunk = (count / (count + strength)) ** 2
    assert found.var() == pytest.approx(shrunk * plain.var(), rel=1e-9)
    assert found.var() < plain.var()


@teachers
def test_the_best_strength_of_the_prior_is_finite(teacher: Teacher) -> None:
    mean, evidence = teacher.mean + 0.2, teacher.evidence(10)
    best = teacher.variance / 0.2**2  # where the derivative of Eq. 13 is 0

    def error(strength: float) -> float:
        found = posterior(evidence, 10, mean, strength)
        return float(((found - teacher.mean) ** 2).mean())

    grid = best * np.geomspace(1 / 8, 8, 61)
    errors = [error(each) for each in grid]
    assert grid[int(np.argmin(errors))] == pytest.approx(best, rel=0.12)
    assert min(errors) < 0.98 * min(error(0.0), error(1e9))


# Theorem 4.2: concentration.


@teachers
@pytest.mark.parametrize("strength", [0.5, 1.0, 4.0])
def test_the_estimate_concentrates(teacher: Teacher, strength: float) -> None:
    mean, sharper = 0.9, 0
    for count in (1, 5, 10, 20, 40):
        weight = count / (count + strength)
        centre = weight * teacher.mean + (1 - weight) * mean
        apart = np.abs(posterior(teacher.evidence(count), count, mean, strength) - centre)
        for epsilon in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.499 * weight):
            exponent = -2 * (count + strength) ** 2 * epsilon**2 / count
            frequency = (apart >= epsilon).mean()
            assert frequency <= 2 * np.exp(exponent)  # Eq. 14
            sharper += int(frequency > 2 * np.exp(1.5 * exponent))
    assert sharper > 0 or teacher is not COIN  # so the test would see a wrong constant


@teachers
def test_the_noise_of_the_gradient_shrinks_with_rollouts(teacher: Teacher, tmp_path: Path) -> None:
    method = begun(tmp_path, [1.0, 0.0], anchor=0)
    score = slope(STUDENT, partial(loss, method))
    norm, shares = float(score.norm()) ** 2, []
    for count in (5, 10, 20, 40):
        found = posterior(teacher.evidence(count), count, 0.5, 1.0)
        variance = float(found.var()) * norm  # of `π̂ · score`, summed over its entries
        bound = count / (4 * (count + 1) ** 2) * norm
        assert variance <= bound * (1.03 if teacher is COIN else 1)  # Eq. 15, met with equality
        shares.append(variance * (count + 1) ** 2 / count)
    assert np.ptp(shares) < 0.05 * max(shares)
