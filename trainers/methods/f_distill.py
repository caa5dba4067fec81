"""f-DISTILL: f-divergences of sequences, decomposed into steps."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from trainers.data.packing import Columns, Row
from trainers.losses.divergences import kl, log_probs, mixture, total_variation
from trainers.methods.base import Method, Role


class FDistill(Method):
    """The step-wise form of an f-divergence, on trajectories of whom its expectation is about.

    p is the student, q the teacher, `m = β·p + (1-β)·q` with β `student_weight`:
    `kl`: `KL(q ‖ p)` on the teacher's; `rkl`: `KL(p ‖ q)` on the student's; `js`: `KL(q ‖ m)` on
    the teacher's, `KL(p ‖ m)` on the student's, which are drawn with a probability of β; `tvd`:
    TV(p, q) on either's, half of each. Source: Wen et al. 2023 (f-DISTILL), §3.2, and the authors'
    code (github.com/MANGA-UOFA/fdistill).
    """

    name: Literal["f-distill"] = "f-distill"
    divergence: Literal["kl", "rkl", "js", "tvd"] = "js"
    student_weight: float = Field(0.5, gt=0, lt=1)

    _mine: Tensor = PrivateAttr()

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher."""
        return (Role.TEACHER,)

    @property
    def share(self) -> float:
        """Of the student's own trajectories."""
        return {"kl": 0.0, "rkl": 1.0, "js": self.student_weight, "tvd": 0.5}[self.divergence]

    def begin_row(self, row: Row, step: int, seed: int) -> None:
        """Note whose the trajectories of a row are."""
        mine = [one.author == "student" for one in row.trajectories]
        self._mine = torch.tensor(mine, device=row.ids.device)

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The part of the divergence, and the plain reverse KL."""
        log_p, log_q = map(log_probs, logits)
        return {
            "loss": self._divergence(log_p, log_q, self._mine[columns.trajectory]),
            "kl": kl(log_p, log_q).detach(),
        }

    def _divergence(self, log_p: Tensor, log_q: Tensor, mine: Tensor) -> Tensor:
        if self.divergence == "tvd":
            return total_variation(log_p, log_q)
        if self.divergence == "js":
            log_m = mixture(log_p, log_q, self.student_weight)
            return torch.where(mine, kl(log_p, log_m), kl(log_q, log_m))
        return kl(log_q, log_p) if self.divergence == "kl" else kl(log_p, log_q)
