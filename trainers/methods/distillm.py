"""DistiLLM: KL divergences to a mixture of teacher and student."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import kl, log_probs, mixture
from trainers.methods.base import Method, Role


class DistiLLM(Method):
    """Skewed KL: `KL(q ‖ α·q + (1-α)·p)`, or reversed `KL(p ‖ (1-α)·q + α·p)`.

    p is the student, q the teacher, α `skew`. Each trajectory is the student's with a probability
    of `student_share`, which the paper raises along the training and which is constant here.
    Source: Ko et al. 2024 (DistiLLM), skew KL and skew RKL.
    """

    name: Literal["distillm"] = "distillm"
    direction: Literal["forward", "reverse"] = "reverse"
    skew: float = Field(0.1, ge=0, lt=1)
    student_share: float = Field(1.0, ge=0, le=1)

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher."""
        return (Role.TEACHER,)

    @property
    def share(self) -> float:
        """Of the student's own trajectories."""
        return self.student_share

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The skewed divergence, and the plain one."""
        log_p, log_q = map(log_probs, logits)
        plain = kl(log_p, log_q).detach()
        if self.direction == "forward":
            return {"loss": kl(log_q, mixture(log_q, log_p, self.skew)), "kl": plain}
        return {"loss": kl(log_p, mixture(log_p, log_q, self.skew)), "kl": plain}
