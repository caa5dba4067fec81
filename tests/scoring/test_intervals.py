"""Intervals: published numbers, known closed forms, coverage, and invariances."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scoring import Resampling
from harness.scoring.intervals import bootstrap_mean, bootstrap_ratio, rate, wilson

QUICK = Resampling(n_resamples=200)
VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


def counted(resolved: int, n: int) -> list[float]:
    return [1.0] * resolved + [0.0] * (n - resolved)


@pytest.mark.parametrize(
    ("resolved", "low", "high", "paper"),
    [
        (59, 9.0, 14.8, (9.1, 14.7)),
        (66, 10.2, 16.2, (10.5, 16.1)),
        (71, 11.2, 17.4, (11.4, 17.3)),
    ],
)
def test_published_counts_give_the_published_intervals(
    resolved: int, low: float, high: float, paper: tuple[float, float]
) -> None:
    interval = bootstrap_mean(counted(resolved, 500)).interval
    assert 100 * interval.low == pytest.approx(low, abs=0.001)
    assert 100 * interval.high == pytest.approx(high, abs=0.001)
    assert (100 * interval.low, 100 * interval.high) == pytest.approx(paper, abs=0.3001)
    assert (interval.value, interval.n) == (resolved / 500, 500)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("resolved", "paper"), [(59, (9.1, 14.7)), (71, (11.4, 17.3))])
def test_other_seeds_agree_within_the_resampling_error(
    resolved: int, paper: tuple[float, float], seed: int
) -> None:
    interval = bootstrap_mean(counted(resolved, 500), how=Resampling(seed=seed)).interval
    assert (100 * interval.low, 100 * interval.high) == pytest.approx(paper, abs=0.3001)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """At p = 0.12 and n = 500 the percentile bootstrap covers within a point or so of 95 %."""
    rng = np.random.default_rng(0)
    counts = rng.binomial(500, 0.12, size=3000)
    bounds = {
        int(count): bootstrap_mean(counted(int(count), 500), how=Resampling(n_resamples=2000))
        for count in np.unique(counts)
    }
    covered = [
        bounds[int(count)].interval.low <= 0.12 <= bounds[int(count)].interval.high
        for count in counts
    ]
    assert 0.93 <= np.mean(covered) <= 0.965


def test_clusters_are_resampled_whole() -> None:
    """When clusters agree inside, the width is that of the number of clusters, not of values."""
    values = [float(cluster % 2) for cluster in range(40) for _ in range(25)]
    clusters = [f"r{cluster}" for cluster in range(40) for _ in range(25)]
    whole = bootstrap_mean(values, clusters=clusters).interval
    of_clusters = bootstrap_mean([float(cluster % 2) for cluster in range(40)]).interval
    assert (whole.low, whole.high) == pytest.approx((of_clusters.low, of_clusters.high), abs=0.026)
    assert whole.n == 40
    assert whole.high - whole.low > 4 * (
        bootstrap_mean(values).interval.high - bootstrap_mean(values).interval.low
    )


def test_unequal_clusters_weigh_by_their_size() -> None:
    interval = bootstrap_mean([1, 1, 1, 0], clusters=["a", "a", "a", "b"], how=QUICK).interval
    assert interval.value == 0.75
    assert (interval.low, interval.high) == (0, 1)


def test_a_cluster_for_each_value_is_no_clustering() -> None:
    values = [0.1, 0.9, 0.4, 0.4, 0.0]
    alone = bootstrap_mean(values, clusters=list("abcde"), how=QUICK).interval
    plain = bootstrap_mean(values, how=QUICK).interval
    assert (alone.low, alone.high) == pytest.approx((plain.low, plain.high))


@given(VALUES)
@settings(deadline=None)
def test_an_interval_lies_within_the_values_and_holds_their_mean(values: list[float]) -> None:
    interval = bootstrap_mean(values, how=QUICK).interval
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack
    assert min(values) <= interval.value <= max(values)
    assert interval.value == pytest.approx(np.mean(values), abs=slack)


@given(VALUES, st.randoms())
@settings(deadline=None)
def test_the_order_of_values_does_not_matter(values: list[float], rng: random.Random) -> None:
    clusters = [str(number % 3) for number in range(len(values))]
    shuffled = list(zip(values, clusters, strict=True))
    rng.shuffle(shuffled)
    again, their_clusters = [one for one, _ in shuffled], [one for _, one in shuffled]
    assert bootstrap_mean(values, how=QUICK).interval == bootstrap_mean(again, how=QUICK).interval
    assert (
        bootstrap_mean(values, clusters=clusters, how=QUICK).interval
        == bootstrap_mean(again, clusters=their_clusters, how=QUICK).interval
    )


@given(st.integers(1, 300), st.data())
@settings(deadline=None)
def test_more_resolved_never_lowers_wilson(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n - 1))
    fewer, more = wilson(count, n), wilson(count + 1, n)
    assert 0 <= fewer.low <= fewer.value <= fewer.high <= 1
    assert fewer.low < more.low
    assert fewer.high < more.high


def test_wilson_against_its_closed_form() -> None:
    z, p, n = 1.959963984540054, 0.3, 10
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    interval = wilson(3, 10)
    assert (interval.low, interval.high) == pytest.approx((centre - half, centre + half))


@pytest.mark.parametrize(("count", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_what_is_no_share_is_refused(count: int, n: int) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        wilson(count, n)


def test_degenerate_rates_say_so_and_show_wilson() -> None:
    none, everything = rate([0.0] * 60), rate([1.0] * 60)
    assert (none.bootstrap.low, none.bootstrap.high) == (0, 0)
    assert none.interval is none.wilson
    assert none.interval.high == pytest.approx(0.0602, abs=1e-4)
    assert "none of 60 resolved" in none.note
    assert "below 5.0% (rule of three)" in none.note
    assert "above 95.0%" in everything.note
    assert rate([1.0, 0.0] * 30).note == ""
    assert rate([1.0, 0.0] * 30).interval.method == "bootstrap percentile"


@pytest.mark.parametrize("shares", [[0.5], [1 / 3] * 7])
def test_equal_shares_have_no_bootstrap_interval(shares: list[float]) -> None:
    found = rate(shares)
    assert (found.bootstrap.low, found.bootstrap.high) == (shares[0], shares[0])
    assert found.interval is found.wilson
    assert f"the same share in all {len(shares)}" in found.note


def test_equal_values_have_no_width_whatever_rounding_does() -> None:
    interval = bootstrap_mean([-7.428219609654789e-23] * 2, how=QUICK).interval
    assert interval.low == interval.value == interval.high


def test_nothing_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean([])


def test_a_ratio_s_interval_is_of_pairs_resampled_together() -> None:
    below = [1.0, 2.0, 3.0, 4.0] * 5
    found = bootstrap_ratio([2 * one for one in below], below)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_a_ratio_over_what_may_be_zero_has_no_interval() -> None:
    assert bootstrap_ratio([1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, 0.0]) is None
    assert bootstrap_ratio([1.0, 1.0], [0.0, 0.0]) is None
