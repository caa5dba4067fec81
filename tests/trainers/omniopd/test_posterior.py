"""Estimates from continuations, against the paper's forms."""

import math

import numpy as np
import pytest

from trainers.omniopd.posterior import frequentist, posterior, prior


@pytest.mark.parametrize("length", [1, 2, 50, 5000])
def test_a_constant_probability_is_the_prior_at_any_length(length: int) -> None:
    assert prior([math.log(0.3)] * length) == pytest.approx(0.3)


def test_the_prior_is_the_geometric_mean() -> None:
    assert prior(np.log([0.5, 0.125])) == pytest.approx(0.25)
    assert prior([-1e-7, 1e-7]) == prior([5e-4]) == 1.0  # rounding


@pytest.mark.parametrize("wrong", [[], [[-1.0]], [-1, np.nan], [-np.inf, -1], [-1, 0.1]])
def test_what_is_no_chunk_has_no_prior(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match=r"log-probabilit"):
        prior(wrong)


def test_the_posterior_is_its_convex_form() -> None:
    rng = np.random.default_rng(0)
    count, strength = rng.integers(1, 40, 200), 1.7
    evidence, mean = rng.random(200) * count, rng.random(200)
    weight = count / (count + strength)
    convex = weight * frequentist(evidence, count) + (1 - weight) * mean
    assert posterior(evidence, count, mean, strength) == pytest.approx(convex, abs=1e-14)


def test_edges() -> None:
    assert posterior(0.0, 10, 0.4, 1.0) == pytest.approx(0.4 / 11)
    assert posterior(10.0, 10, 0.0, 1.0) == pytest.approx(10 / 11)
    assert posterior(0, 0, 0.4, 1.0) == 0.4  # nobody was asked
    assert posterior(3.0, 10, 0.4, 0.0) == frequentist(3.0, 10) == 0.3
    assert posterior(10 * (1 + 1e-12), 10, 1.0, 1.0) == 1.0  # a sum's rounding
    assert posterior([0, 1], 2, [0.5, 1.0], 2.0).tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((-0.1, 10, 0.5, 1.0), "sum of similarities"),
        ((10.1, 10, 0.5, 1.0), "sum of similarities"),
        ((np.nan, 10, 0.5, 1.0), "sum of similarities"),
        ((0, -1, 0.5, 1.0), "continuations"),
        ((1, 10, 1.5, 1.0), "prior"),
        ((1, 10, np.nan, 1.0), "prior"),
        ((1, 10, 0.5, -1.0), "strength"),
        ((1, 10, 0.5, math.inf), "strength"),
        ((0, 0, 0.5, 0.0), "nothing to estimate"),
        (([1, 0], [2, 0], 0.5, 0.0), "nothing to estimate"),
    ],
)
def test_what_would_be_no_estimate_is_an_error(
    given: tuple[float, float, float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        posterior(*given)
