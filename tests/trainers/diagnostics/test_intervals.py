"""Intervals over clusters, against what can be worked out by hand."""

import numpy as np
import pytest

from trainers.diagnostics.intervals import (
    bootstrap,
    bootstrap_correlation,
    bootstrap_mean,
    jackknife,
)


def test_the_fast_mean_is_the_general_bootstrap() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=60)
    clusters = [f"c{number % 7}" for number in range(60)]
    slow = bootstrap(lambda chosen: float(values[chosen].mean()), clusters)
    fast = bootstrap_mean(values, clusters)
    assert fast["value"] == pytest.approx(values.mean())
    assert (fast["n"], fast["clusters"]) == (60, 7)
    assert [fast[key] for key in ("value", "low", "high")] == pytest.approx(
        [slow[key] for key in ("value", "low", "high")]
    )


def test_the_fast_correlation_is_the_general_bootstrap() -> None:
    rng = np.random.default_rng(1)
    one = rng.normal(1e3, 1, 60)
    other = one + rng.normal(size=60)
    clusters = [f"c{number % 7}" for number in range(60)]
    slow = bootstrap(lambda chosen: np.corrcoef(one[chosen], other[chosen])[0, 1], clusters)
    fast = bootstrap_correlation(one, other, clusters)
    assert [fast[key] for key in ("value", "low", "high", "n")] == pytest.approx(
        [slow[key] for key in ("value", "low", "high", "n")]
    )
    assert bootstrap_correlation(one, np.full(60, 0.1), clusters)["value"] is None
    assert bootstrap_correlation(one, other, ["c"] * 60)["low"] is None
    assert bootstrap_correlation(np.empty(0), np.empty(0), [])["value"] is None


def test_clusters_count_and_not_their_states() -> None:
    values = np.repeat(np.arange(8.0), 50)
    apart = bootstrap_mean(values, [str(number) for number in range(400)])
    together = bootstrap_mean(values, np.repeat([f"c{number}" for number in range(8)], 50))
    width = [one["high"] - one["low"] for one in (apart, together)]  # type: ignore[operator]
    assert width[1] / width[0] == pytest.approx(np.sqrt(50), rel=0.15)
    # eight equal clusters: the bootstrap's standard deviation is that of their means over √8
    assert width[1] == pytest.approx(2 * 1.96 * np.arange(8).std() / np.sqrt(8), rel=0.08)


def test_one_cluster_has_no_interval_and_nothing_has_no_value() -> None:
    one = bootstrap_mean(np.array([1.0, 2.0]), ["a", "a"])
    assert (one["value"], one["low"], one["high"]) == (1.5, None, None)
    nothing = bootstrap_mean(np.empty(0), [])
    assert (nothing["value"], nothing["n"], nothing["clusters"]) == (None, 0, 0)
    assert bootstrap(lambda chosen: float("nan"), ["a", "b"])["value"] is None
    assert jackknife(lambda chosen: 1.0, ["a", "a"])["low"] is None


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    found = jackknife(lambda chosen: float(values[chosen].mean()), list("abcd"))
    half = 1.959964 * values.std(ddof=1) / 2
    assert (found["low"], found["high"]) == pytest.approx((4 - half, 4 + half))


def test_the_order_of_states_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    values, clusters = rng.normal(size=30), np.array([f"c{n % 5}" for n in range(30)])
    order = rng.permutation(30)
    first, second = bootstrap_mean(values, clusters), bootstrap_mean(values[order], clusters[order])
    assert first["low"] == pytest.approx(second["low"])
