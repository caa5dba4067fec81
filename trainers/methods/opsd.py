"""On-policy self-distillation: privileged information at every state."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import entropy, kl, log_probs, total_variation
from trainers.methods.base import Method, Role


class OPSD(Method):
    """`KL(p_t ‖ q_t^P)` at every state that the student visited, whatever PI changes there.

    The teacher may be any model with PI adapters, or the student as it starts with PI in its
    prompt (`teacher.model` the student's, interface `prompt`). Source: Zhao et al. 2026, as CHOP
    compares with it (uniform PI).
    """

    name: Literal["opsd"] = "opsd"
    pi_sources: tuple[str, ...] | None = None

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher with PI."""
        return (Role.PI_TEACHER,)

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
