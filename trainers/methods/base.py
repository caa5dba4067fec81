"""What a method is: its configuration and its formula.

Shapes: C sampled tokens of a chunk, V the ids that all models share.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.records.base import Record
from trainers.data.packing import Columns, Row
from trainers.data.trajectories import Trajectory

if TYPE_CHECKING:
    from trainers.engine.networks import Network
    from trainers.omniopd.prompts import Prompts
    from trainers.omniopd.texts import TextTeacher
    from trainers.segments.prefixes import Prefix
    from trainers.teachers.base import Teacher


class Role(StrEnum):
    """A frozen model whose next-token distributions a method may ask for."""

    TEACHER = "teacher"  # who is imitated
    PI_TEACHER = "pi_teacher"  # the same with privileged information, where there is any
    ROLLOUT = "rollout"  # the student as it was when it sampled the trajectories
    REFERENCE = "reference"  # the student as it was before any training


@dataclass(frozen=True)
class RowWork:
    """A row whose tokens are done, for a loss that needs more than their logits.

    found: what `Method.tokens` returned for the row's N sampled tokens, with gradient. prefix: the
    student's keys and values of the row, with gradient, where `keeps_prefix` asks for them.
    teachers: by role. step: from 0; seed: of the training; chunk: tokens whose logits fit.
    """

    row: Row
    found: Mapping[str, Tensor]
    network: "Network"
    prefix: "Prefix"
    teachers: "Mapping[Role, Teacher]"
    step: int
    seed: int
    chunk: int


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a training begins with.

    first: whether this process writes files. drawn: the trajectories that steps will draw, in the
    order of their first use. text_teacher, prompts: where the settings have a text teacher, it, and
    what it is asked.
    """

    first: bool
    network: "Network"
    teachers: "Mapping[Role, Teacher]"
    trajectories: Sequence[Trajectory]
    drawn: Sequence[Trajectory]
    row_tokens: int
    chunk: int
    seed: int
    text_teacher: "TextTeacher | None" = None
    prompts: "Prompts | None" = None


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

    @property
    def asks_for_text(self) -> bool:
        """Whether it needs a text teacher."""
        return False

    @property
    def keeps_prefix(self) -> bool:
        """Whether `beyond_tokens` continues the row: its keys and values are kept."""
        return False

    def prepare(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """The trajectories to train on. Raises DataError when they do not suit the method."""
        return list(trajectories)

    @abstractmethod
    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """`loss` of each token, and whatever else is worth a mean in the metrics, `(C,)` each.

        logits: of the student, then of each role, `(C, V)`. The training loss is the sum over all
        tokens of a step divided by `divisor`.
        """

    def divisor(self, batch: Sequence[Trajectory]) -> int:
        """What the sum of a step's losses is divided by: the number of its sampled tokens."""
        return sum(one.sampled_tokens for one in batch)

    def begin(self, out: Path, step: int, work: Beginning) -> None:
        """A training begins or continues before `step`, after `load_state_dict`."""

    def begin_row(self, row: Row, step: int, seed: int) -> None:
        """A row is next: `tokens` gets its tokens, a chunk at a time."""

    def beyond_tokens(self, work: RowWork) -> dict[str, Tensor]:
        """More results for each sampled token of a row, `(N,)`; `loss` is added to the tokens' own.

        Every row has to give the same names. Its gradient is taken together with the tokens'.
        """
        return {}

    def observe(self, step: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
        """Take in a step's results that `observes` names, by trajectory, then by result."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: arrays, tensors and JSON values, in dictionaries."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
