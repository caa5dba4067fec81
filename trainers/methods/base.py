"""What a method is: its configuration and its formula.

Shapes: C sampled tokens of a chunk, V the ids that all models share.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.records.base import Record
from trainers.data.packing import Columns
from trainers.data.trajectories import Trajectory


class Role(StrEnum):
    """A frozen model whose next-token distributions a method may ask for."""

    TEACHER = "teacher"  # who is imitated
    ROLLOUT = "rollout"  # the student as it was when it sampled the trajectories


class Method(Record, ABC):
    """A way to train. Its fields are the keys of `method:` in a configuration.

    `tokens` is the formula; everything else has a default that does nothing.
    """

    name: str

    observes: ClassVar[tuple[str, ...]] = ()
    """The results of `tokens` that `observe` is to be given after each step."""

    @property
    def roles(self) -> tuple[Role, ...]:
        """The frozen models that `tokens` needs logits of."""
        return ()

    @property
    def share(self) -> float | None:
        """The share of trajectories that the student sampled; none: whatever there is."""
        return None

    def prepare(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """The trajectories to train on. Raises DataError when they do not suit the method."""
        return list(trajectories)

    @abstractmethod
    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """`loss` of each token, and whatever else is worth a mean in the metrics, `(C,)` each.

        logits: of the student, then of each role, `(C, V)`. The training loss is the sum over all
        tokens of a step divided by their number.
        """

    def observe(self, step: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
        """Take in a step's results that `observes` names, by trajectory, then by result."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: arrays, tensors and JSON values, in dictionaries."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
