"""Trajectories of a few turns."""

from collections.abc import Sequence

import numpy as np

from trainers.data.trajectories import Trajectory, Turn


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
