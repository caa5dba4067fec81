"""What a ledger says, from files made up."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainers.data.errors import DataError
from trainers.data.trajectories import Trajectory, Turn
from trainers.diagnostics.ledger import cells_of_ledger, routing_by_step
from trainers.gates.thresholds import representatives


def _trajectory(name: str) -> Trajectory:
    ids = np.arange(30, dtype=np.int32)
    turns = (Turn(10, 30, 1.0, 1.0, 1),)
    return Trajectory(f"run/{name}/0#0", name, "student", ids, turns, np.zeros(30, np.float32))


TRAJECTORIES = [_trajectory("a"), _trajectory("b")]


def _ledger(folder: Path, most: int) -> None:
    """Twelve steps: the first half of a trajectory is A, the rest C; anchors are added, all D."""
    for step in range(1, 13):
        rows = []
        for one in TRAJECTORIES:
            drawn = set(representatives(one.name, 20, most).tolist())
            for number in range(20):
                cell = ("A" if number < 10 else "C") if number in drawn else "D"
                place = {"step": step, "trajectory": one.name, "token": number + 10}
                rows.append(place | {"cell": cell, "rho": step / 20, "kappa": 0.5})
        pq.write_table(pa.Table.from_pylist(rows), folder / f"step-{step:06d}.parquet")


def test_shares_are_of_evenly_drawn_states(tmp_path: Path) -> None:
    _ledger(tmp_path, 20)
    rows = routing_by_step(tmp_path, TRAJECTORIES, None)
    assert len(rows) == 10
    assert (rows[0]["from step"], rows[0]["to step"], rows[-1]["to step"]) == (1, 2, 12)
    assert rows[0]["states"] == 2 * 40
    assert rows[0]["A"]["value"] == rows[0]["C"]["value"] == 0.5
    assert rows[0]["rho"]["value"] == pytest.approx(1.5 / 20)
    cells = cells_of_ledger(tmp_path, TRAJECTORIES, None)
    assert [row["A"] for row in cells] == [48] * 5 + [0] * 5
    assert [row["C"] for row in cells] == [0] * 5 + [48] * 5


def test_anchors_do_not_count(tmp_path: Path) -> None:
    _ledger(tmp_path, 6)
    rows = routing_by_step(tmp_path, TRAJECTORIES, 6)
    assert all(row["D"]["value"] == 0 for row in rows)
    assert sum(row["states"] for row in rows) == 12 * 2 * 6
    assert sum(row["D"] for row in cells_of_ledger(tmp_path, TRAJECTORIES, 6)) == 0


def test_states_of_other_trajectories_do_not_count(tmp_path: Path) -> None:
    _ledger(tmp_path, 20)
    rows = routing_by_step(tmp_path, TRAJECTORIES[:1], None)
    assert rows[0]["states"] == 40
    assert routing_by_step(tmp_path, [_trajectory("other")], None) == []


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "step-000001.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=f"{path}: not a ledger"):
        routing_by_step(tmp_path, TRAJECTORIES, None)
