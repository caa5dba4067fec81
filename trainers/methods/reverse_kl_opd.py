"""On-policy distillation by the reverse KL over the whole vocabulary."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import entropy, kl, log_probs, total_variation
from trainers.methods.base import Method, Role


class ReverseKLOPD(Method):
    """`KL(p_t ‖ q_t)` at every state that the student visited. Source: CHOP Eq. 10."""

    name: Literal["opd"] = "opd"

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
        return {
            "loss": kl(log_p, log_q),
            "student_entropy": entropy(log_p.detach()),
            "teacher_entropy": entropy(log_q),
            "tv": total_variation(log_p.detach(), log_q),
        }
