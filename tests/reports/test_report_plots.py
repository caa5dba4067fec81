"""Axes hold their values and have round ticks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reports.plots import MARGIN, difference_axis, rate_axis, shares


@given(st.lists(st.floats(0, 1), min_size=1))
def test_a_rate_axis_reaches_every_value(highs: list[float]) -> None:
    axis = rate_axis(highs)
    assert axis.low == axis.ticks[0] == 0
    assert max(highs) <= axis.high + 1e-9
    assert axis.ticks[-1] == pytest.approx(axis.high)
    assert axis.high <= 1 + 1e-9
    assert 2 <= len(axis.ticks) <= 6


@given(st.lists(st.floats(-1, 1), min_size=1))
def test_a_difference_axis_is_symmetric(bounds: list[float]) -> None:
    axis = difference_axis(bounds)
    assert axis.low == -axis.high
    assert max(map(abs, bounds)) <= axis.high + 1e-9
    assert 0 in axis.ticks
    assert axis.ticks[-1] == pytest.approx(axis.high)


def test_positions_run_from_margin_to_margin() -> None:
    axis = rate_axis([1.0])
    assert axis.ticks == pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1.0))
    assert [axis.at(value) for value in (0, 0.5, 1, 7)] == [MARGIN, 50, 100 - MARGIN, 100 - MARGIN]


def test_small_rates_get_a_short_axis() -> None:
    assert rate_axis([0.148, 0.162]).high == pytest.approx(0.2)


def test_shares_fill_the_bar() -> None:
    assert shares([1, 0, 3]) == [(0, 25), (25, 0), (25, 75)]
    assert shares([0, 0]) == [(0, 0), (0, 0)]
