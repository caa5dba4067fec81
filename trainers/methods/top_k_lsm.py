"""Local support matching on the likeliest tokens."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import kl, log_probs, top_k_kl, top_k_overlap
from trainers.methods.base import Method, Role


class TopKLSM(Method):
    """`KL(p̃_t ‖ q̃_t)`, both renormalised on the k likeliest ids of the student.

    support: `teacher` takes the teacher's k likeliest, as the authors' code does. Source: CHOP
    Eq. 11.
    """

    name: Literal["top-k-lsm"] = "top-k-lsm"
    k: int = Field(64, ge=2)
    support: Literal["student", "teacher"] = "student"

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher."""
        return (Role.TEACHER,)

    @property
    def share(self) -> float:
        """Only the student's own trajectories."""
        return 1.0

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The divergence on the support, that on the whole vocabulary, and how much they share."""
        log_p, log_q = map(log_probs, logits)
        return {
            "loss": top_k_kl(log_p, log_q, self.k, self.support),
            "kl": kl(log_p, log_q).detach(),
            "overlap": top_k_overlap(log_p.detach(), log_q, min(self.k, log_p.shape[-1])),
        }
