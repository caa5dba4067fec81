"""Trajectories of a few turns."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers.data.trajectories import Trajectory, Turn
from trainers.methods.base import Beginning


def trajectory(
    turns: Sequence[Sequence[int]], name: str = "r/i/0#0", prompt: Sequence[int] = (0, 0)
) -> Trajectory:
    """Sampled turns, each behind a prompt."""
    ids: list[int] = []
    found = []
    for number, sampled in enumerate(turns, 1):
        ids += [*prompt, *sampled]
        found.append(Turn(len(ids) - len(sampled), len(ids), 1.0, 1.0, number))
    size = len(ids)
    return Trajectory(
        name, "i", "student", np.array(ids, np.int32), tuple(found), np.full(size, -1, np.float32)
    )


def beginning(trajectories: Sequence[Trajectory]) -> Beginning:
    """Of a training whose audits are made already, so that no model is asked."""
    nothing: Any = None
    return Beginning(
        first=True,
        network=nothing,
        teachers={},
        trajectories=trajectories,
        drawn=trajectories,
        row_tokens=99,
        chunk=9,
        seed=0,
    )
