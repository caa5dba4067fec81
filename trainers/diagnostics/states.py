"""What is measured at every state that the student visited.

Shapes: C states of a chunk, V the ids that all models share.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from trainers.data.packing import Columns
from trainers.diagnostics.pi_sources import source_quantities
from trainers.losses.divergences import entropy, kl, log_probs, top_k_overlap, total_variation
from trainers.methods.base import Method, Role

TOP_K = 16


class StateQuantities(Method):
    """Not a way to train: what `tokens` returns is kept, nothing is learnt.

    pi_sources: what the teacher with PI has; nothing: there is no such teacher. apart: PI sources
    whose own teachers' logits follow behind the roles'.
    """

    name: Literal["diagnose"] = "diagnose"
    pi_sources: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher, and the same with PI."""
        return (Role.TEACHER, Role.PI_TEACHER) if self.pi_sources else (Role.TEACHER,)

    @property
    def share(self) -> float:
        """States are the student's own."""
        return 1.0

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """Entropies, TV(q, p), κ, and divergences in nats, `(C,)` each; see `source_quantities`.

        top_k_overlap: of the likeliest ids, the share that both have. Source: CHOP App. B.4.
        """
        with torch.no_grad():
            log_p, log_q = map(log_probs, logits[:2])
            sampled = columns.sampled.unsqueeze(-1)
            found = {
                "teacher_entropy": entropy(log_q),
                "student_entropy": entropy(log_p),
                "tv": total_variation(log_p, log_q),
                "kl": kl(log_p, log_q),
                "top_k_overlap": top_k_overlap(log_p, log_q, min(TOP_K, log_p.shape[-1])),
                "log_p": log_p.gather(-1, sampled).squeeze(-1),
                "log_q": log_q.gather(-1, sampled).squeeze(-1),
            }
            if self.pi_sources:
                log_q_pi = log_probs(logits[2])
                found["kappa"] = total_variation(log_q, log_q_pi)
                found["kl_pi"] = kl(log_q_pi, log_q)
            if self.apart:
                adapted = dict(zip(self.apart, logits[3:], strict=True))
                found |= source_quantities(logits[1], adapted)
        return found
