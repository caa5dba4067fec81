"""ToDi: for each id of the vocabulary, its own mixture of both KL divergences."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import kl, log_probs
from trainers.methods.base import Method, Role


class ToDi(Method):
    """`Σ_i w_i·q_i·log(q_i/p_i) + (1-w_i)·p_i·log(p_i/q_i)`, `w_i = σ(log q_i - log p_i)` constant.

    p is the student, q the teacher: the forward KL counts where the student gives an id too little,
    the reverse where it gives too much. Source: Jung et al. 2025 (ToDi).
    """

    name: Literal["todi"] = "todi"

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher."""
        return (Role.TEACHER,)

    @property
    def share(self) -> float | None:
        """Whatever there is: the paper trains on given answers."""
        return None

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The divergence, and the plain reverse one."""
        log_p, log_q = map(log_probs, logits)
        gap = log_q - log_p
        weight = gap.detach().sigmoid()
        parts = weight * log_q.exp() * gap - (1 - weight) * log_p.exp() * gap
        return {"loss": parts.sum(-1), "kl": kl(log_p, log_q).detach()}
