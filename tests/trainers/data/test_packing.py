"""Rows hold every token of their trajectories, and every sampled token's state."""

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.data.packing import make_row, pack
from trainers.data.trajectories import Trajectory, Turn


def trajectory(name: str, ids: list[int], *turns: Turn, outcome: int | None = 1) -> Trajectory:
    log_probs = np.full(len(ids), np.nan, np.float32)
    for turn in turns:
        log_probs[turn.start : turn.end] = -np.array(ids[turn.start : turn.end])
    return Trajectory(name, "g", "student", np.array(ids, np.int32), turns, log_probs, outcome, 0.5)


def test_columns_belong_to_the_sampled_tokens() -> None:
    one = trajectory("a", [1, 2, 3, 4, 5], Turn(1, 2, 0.7, 0.9), Turn(3, 5, 1.0, 1.0))
    other = trajectory("b", [6, 7, 8], Turn(2, 3, 0.5, 0.8), outcome=None)
    row = make_row([one, other])
    assert row.ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert row.positions.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2]]
    assert row.columns.sampled.tolist() == [2, 4, 5, 8]
    assert row.ids[0, row.states + 1].tolist() == row.columns.sampled.tolist()
    assert row.columns.recorded.tolist() == [-2.0, -4.0, -5.0, -8.0]
    assert row.columns.trajectory.tolist() == [0, 0, 0, 1]
    assert row.columns.outcome[:3].tolist() == [1.0, 1.0, 1.0]
    assert bool(row.columns.outcome[3].isnan())
    assert row.columns.advantage.tolist() == [0.5] * 4
    torch.testing.assert_close(row.columns.temperature, torch.tensor([0.7, 1.0, 1.0, 0.5]))
    torch.testing.assert_close(row.columns.top_p, torch.tensor([0.9, 1.0, 1.0, 0.8]))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 40))
def test_rows_hold_all_and_not_too_much(lengths: list[int], room: int) -> None:
    given_ones = [trajectory(str(n), [0] * length) for n, length in enumerate(lengths)]
    rows = pack(given_ones, room)
    assert Counter(one.name for row in rows for one in row) == Counter(
        map(str, range(len(lengths)))
    )
    sizes = [sum(len(one.ids) for one in row) for row in rows]
    assert all(size <= room or len(row) == 1 for size, row in zip(sizes, rows, strict=True))
    assert not any(a + b <= room for i, a in enumerate(sizes) for b in sizes[:i])
    assert [[one.name for one in row] for row in pack(given_ones[::-1], room)] == [
        [one.name for one in row] for row in rows
    ]
