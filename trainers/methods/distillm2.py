"""DistiLLM-2: another skewed KL for the teacher's trajectories than for the student's."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from trainers.data.packing import Columns, Row
from trainers.losses.divergences import kl, log_probs, mixture
from trainers.methods.base import Method, Role


class DistiLLM2(Method):
    """`(2-β)·KL(q ‖ α·q + (1-α)·p)` on the teacher's trajectories, which attracts the student.

    On its own ones it is `β·KL(p ‖ (1-α)·q + α·sg[p])`. p is the student, q the teacher, α `skew`;
    half of the trajectories are of either. β is 1, or grows from 1 to 1.5 over `growth_steps`.
    Source: Ko et al. 2025 (DistiLLM-2), SKL and SRKL, and the authors' code
    (github.com/jongwooko/distillm-2), from which the constant in the mixture is.

    Without their curriculum, which makes α smaller for pairs of answers that are alike already: it
    needs the whole answer's likelihood before its loss.
    """

    name: Literal["distillm-2"] = "distillm-2"
    skew: float = Field(0.1, ge=0, lt=1)
    growth_steps: int | None = Field(None, ge=1)

    _mine: Tensor = PrivateAttr()
    _weight: float = PrivateAttr(1.0)

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher."""
        return (Role.TEACHER,)

    @property
    def share(self) -> float:
        """Half of them are the student's."""
        return 0.5

    def begin_row(self, row: Row, step: int, seed: int) -> None:
        """Note whose the trajectories of a row are."""
        mine = [one.author == "student" for one in row.trajectories]
        self._mine = torch.tensor(mine, device=row.ids.device)
        self._weight = 1 + 0.5 * min(1.0, step / self.growth_steps) if self.growth_steps else 1.0

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The divergence that belongs to the author, and the plain reverse KL."""
        log_p, log_q = map(log_probs, logits)
        attract = kl(log_q, mixture(log_q, log_p, self.skew))
        repel = kl(log_p, mixture(log_p.detach(), log_q, self.skew))
        mine = self._mine[columns.trajectory]
        return {
            "loss": torch.where(mine, self._weight * repel, (2 - self._weight) * attract),
            "kl": kl(log_p, log_q).detach(),
        }
