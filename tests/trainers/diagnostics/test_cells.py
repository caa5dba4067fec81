"""Cells and depths."""

import numpy as np
import pytest

from trainers.diagnostics.cells import CELLS, cell_of, cells_by_depth, depths


def test_cells_by_their_letters() -> None:
    trusted = np.array([True, True, False, False])
    active = np.array([False, True, False, True])
    assert [CELLS[place] for place in cell_of(trusted, active)] == ["A", "B", "C", "D"]


def test_depths_are_tenths_of_a_trajectory() -> None:
    assert np.bincount(depths(100)).tolist() == [10] * 10
    assert depths(10).tolist() == list(range(10))
    assert depths(4).tolist() == [0, 2, 5, 7]
    assert depths(0).tolist() == []


def test_counts_and_shares() -> None:
    depth = np.concatenate([depths(20), depths(20)])
    cells = np.where(depth < 5, 0, np.tile([2, 3], 20))
    rows = cells_by_depth(cells, depth, ["a"] * 20 + ["b"] * 20)
    assert [row["n"] for row in rows] == [4] * 10
    assert rows[0]["counts"] == {"A": 4, "B": 0, "C": 0, "D": 0}
    assert rows[9]["counts"] == {"A": 0, "B": 0, "C": 2, "D": 2}
    assert rows[9]["shares"]["D"]["value"] == pytest.approx(0.5)
    assert rows[9]["shares"]["D"]["clusters"] == 2
    assert sum(sum(row["counts"].values()) for row in rows) == 40
