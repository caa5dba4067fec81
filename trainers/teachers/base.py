"""What a teacher is to a training step."""

from collections.abc import Sequence
from typing import Protocol

from trainers.data.trajectories import Trajectory
from trainers.losses.chunked import Projection


class Teacher(Protocol):
    """A frozen source of next-token distributions at the states that trajectories were sampled in.

    Shapes: N sampled tokens of all given trajectories, D the teacher's hidden size, V the ids that
    teacher and student share.
    """

    def project(self, trajectories: Sequence[Trajectory]) -> Projection:
        """Hidden states `(N, D)` before each sampled token, in order, and an embedding `(V, D)`.

        No gradient reaches either. Each trajectory's states are the same whatever others it is
        asked for with, to the bit, so that a resumed training repeats what it did.
        """
        ...
