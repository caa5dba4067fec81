"""Plots: where marks stand, and that the same numbers give the same bytes."""

import re
from xml.etree import ElementTree

import pytest

from trainers.diagnostics.svg import Scale, Series, bars, lines

NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-0.02, 0.96), (3, 4.3), (0.001, 0.003), (0, 900)]
)
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = Scale(low, high, 0, 100).ticks
    assert 3 <= len(ticks) <= 8
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert all(len(f"{tick:g}") <= 6 for tick in ticks)


def test_points_stand_where_their_values_are() -> None:
    series = [Series("<one>", [(1, 0.0, -0.5, 0.5), (2, 1.0, None, None), (3, 0.5, None, None)])]
    text = lines("A & B", "step", series)
    root = ElementTree.fromstring(text)
    marks = [
        (float(one.attrib["cx"]), float(one.attrib["cy"]))
        for one in root.iter(f"{NAMESPACE}circle")
    ]
    assert [x for x, _ in marks] == sorted(x for x, _ in marks)
    assert marks[1][1] < marks[2][1] < marks[0][1]  # up is less
    assert marks[2][1] == pytest.approx((marks[0][1] + marks[1][1]) / 2, abs=0.02)
    whiskers = [one for one in root.iter(f"{NAMESPACE}line") if "class" not in one.attrib]
    assert len(whiskers) == 1
    assert root.findtext(f"{NAMESPACE}title") == "A & B"
    assert "&lt;one&gt;" in text
    assert text == lines("A & B", "step", series)
    assert "nan" not in lines("flat", "x", [Series("flat", [(1, 2.0, None, None)])])


def test_bars_are_stacked_on_each_other() -> None:
    text = bars("t", "x", [(0, 1), (1, 2)], {"a": [1, 2], "b": [3, 0]})
    boxes = [
        tuple(float(one) for one in found)
        for found in re.findall(
            r'<rect x="(.*?)" y="(.*?)" width=".*?" height="([\d.]*)" fill', text
        )
    ]
    boxes = [one for one in boxes if one[1] > 20]  # not the legend
    (_, y_a, height_a), (_, y_b, height_b) = boxes[0], boxes[1]
    assert height_b == pytest.approx(3 * height_a, abs=0.05)
    assert y_b + height_b == pytest.approx(y_a, abs=0.02)
