"""Sequence-level knowledge distillation."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from trainers.data.packing import Columns
from trainers.methods.base import Method
from trainers.methods.likelihood import negative_log_likelihood


class SequenceKD(Method):
    """`-log p(y_t)` on the teacher's own trajectories: a sample in place of its most likely one.

    Source: Kim & Rush 2016, Eq. 7, with samples of the teacher instead of its beam.
    """

    name: Literal["sequence-kd"] = "sequence-kd"

    @property
    def share(self) -> float:
        """Nothing of the student."""
        return 0.0

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The negative log-likelihood."""
        return negative_log_likelihood(logits[0], columns.sampled)
