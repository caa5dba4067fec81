"""On-policy distillation by the reverse KL over the whole vocabulary."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import entropy, kl, log_probs, total_variation
from trainers.methods.base import Method, Role


class ReverseKLOPD(Method):
    """`(1-f)·KL(p_t ‖ q_t) + f·KL(q_t ‖ p_t)` at every state that the student visited.

    f is `forward_share`. Source: CHOP Eq. 10 (f = 0); OmniOPD §5.1 compares with f = 0.5.
    """

    name: Literal["opd"] = "opd"
    forward_share: float = Field(0.0, ge=0, le=1)

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher."""
        return (Role.TEACHER,)

    @property
    def share(self) -> float:
        """Only the student's own trajectories."""
        return 1.0

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The divergence, and how far apart and how sure the two are."""
        log_p, log_q = map(log_probs, logits)
        loss = kl(log_p, log_q)
        if self.forward_share:
            loss = (1 - self.forward_share) * loss + self.forward_share * kl(log_q, log_p)
        return {
            "loss": loss,
            "student_entropy": entropy(log_p.detach()),
            "teacher_entropy": entropy(log_q),
            "tv": total_variation(log_p.detach(), log_q),
        }
