"""Generalised knowledge distillation."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import jensen_shannon, kl, log_probs
from trainers.methods.base import Method, Role


class GKD(Method):
    """The generalised JSD on a mixture of the student's and the teacher's trajectories.

    Each trajectory is the student's with a probability of `student_share` (λ). `interpolation` is
    β: the divergence is `β·KL(q ‖ m) + (1-β)·KL(p ‖ m)` with `m = β·q + (1-β)·p`; its limits 0 and
    1, which vanish, stand for the forward KL(q ‖ p) and the reverse KL(p ‖ q), as in the authors'
    code. Source: Agarwal et al. 2024, Eq. 1 and Alg. 1.
    """

    name: Literal["gkd"] = "gkd"
    student_share: float = Field(0.5, ge=0, le=1)
    interpolation: float = Field(0.5, ge=0, le=1)

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher."""
        return (Role.TEACHER,)

    @property
    def share(self) -> float:
        """λ."""
        return self.student_share

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The divergence."""
        log_p, log_q = map(log_probs, logits)
        return {"loss": self._divergence(log_p, log_q), "kl": kl(log_p, log_q).detach()}

    def _divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        if self.interpolation == 0:
            return kl(log_q, log_p)
        if self.interpolation == 1:
            return kl(log_p, log_q)
        return jensen_shannon(log_p, log_q, self.interpolation)
