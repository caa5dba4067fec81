"""Ranks and distortions with known values."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from trainers.diagnostics.embeddings import (
    effective_rank,
    first_token_distance,
    fit_distortion,
    singular_values,
    wasserstein,
)


def test_singular_values_are_variances() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + 5
    covariance = np.cov(points, rowvar=False)
    expected = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    assert singular_values(points) == pytest.approx(expected)
    # a common shift is no dimension
    assert effective_rank(singular_values(np.ones((5, 3)))) != effective_rank(np.ones(3))


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(np.ones(7)) == pytest.approx(7)
    assert effective_rank(np.array([3.0, 0.0, 0.0])) == pytest.approx(1)
    # shares 1/2, 1/4, 1/4: entropy 1.5 ln 2
    assert effective_rank(np.array([2.0, 1.0, 1.0])) == pytest.approx(2**1.5)
    assert np.isnan(effective_rank(np.zeros(3)))


def test_wasserstein_finds_the_cheapest_pairing() -> None:
    points = np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    assert wasserstein(points, points[[2, 0, 1]]) == pytest.approx(0)
    assert wasserstein(points, points[[2, 0, 1]] + [3.0, 4.0]) == pytest.approx(5)
    assert wasserstein(np.array([[0.0]]), np.array([[2.0]])) == pytest.approx(2)
    with pytest.raises(ValueError, match="2 and 1 points"):
        wasserstein(points[:2], points[:1])


def test_first_tokens_that_differ() -> None:
    ones = np.array([1, 1, 2, 3])
    assert first_token_distance(ones, ones[::-1]) == 0
    assert first_token_distance(ones, np.array([7, 7, 8, 8])) == 1
    assert first_token_distance(ones, np.array([1, 1, 1, 1])) == pytest.approx(0.5)
    assert first_token_distance(ones, np.array([1, 2])) == pytest.approx(0.25)


def test_a_line_through_the_origin() -> None:
    variations = np.linspace(0.1, 1, 20)
    exact = fit_distortion(1.4 * np.sqrt(variations), variations)
    assert (exact.bound, exact.slope) == pytest.approx((1.4, 1.4))
    assert exact.unbounded == 0
    nothing = fit_distortion(np.array([0.0, 2.0]), np.zeros(2))
    assert np.isnan(nothing.bound)
    assert nothing.unbounded == 1


def test_the_bound_is_the_quantile_regression() -> None:
    rng = np.random.default_rng(0)
    variations = rng.uniform(0.05, 1, 301)
    distances = np.sqrt(variations) * rng.uniform(0.5, 2, 301)

    def pinball(slope: float) -> float:
        rest = distances - slope * np.sqrt(variations)
        return float(np.maximum(0.95 * rest, -0.05 * rest).sum())

    found = fit_distortion(distances, variations)
    best = minimize_scalar(pinball, bounds=(0, 3), method="bounded", options={"xatol": 1e-9})
    assert found.bound == pytest.approx(best.x, abs=1e-5)
    assert np.mean(distances <= found.bound * np.sqrt(variations)) == pytest.approx(0.95, abs=0.02)
    slope = np.linalg.lstsq(np.sqrt(variations)[:, None], distances, rcond=None)[0]
    assert found.slope == pytest.approx(float(slope[0]))
