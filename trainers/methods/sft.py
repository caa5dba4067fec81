"""Supervised fine-tuning."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from trainers.data.errors import DataError
from trainers.data.packing import Columns
from trainers.data.trajectories import Trajectory
from trainers.methods.base import Method
from trainers.methods.likelihood import negative_log_likelihood


class SFT(Method):
    """`-log p(y_t)` on the sampled tokens of good trajectories, whoever sampled them.

    resolved_only: keep the trajectories that real grading found to resolve their instance.
    Source: maximum likelihood; on resolved samples, Yuan et al. 2023 (rejection sampling), Eq. 1.
    """

    name: Literal["sft"] = "sft"
    resolved_only: bool = True

    def prepare(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """The resolved ones, or all."""
        kept = [one for one in trajectories if one.outcome == 1 or not self.resolved_only]
        if not kept:
            raise DataError(
                f"none of {len(trajectories)} trajectories is resolved: give runs that solved "
                "something (and grade them), or set method.resolved_only to false"
            )
        return kept

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The negative log-likelihood."""
        return negative_log_likelihood(logits[0], columns.sampled)
