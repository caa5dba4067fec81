"""CHOP's loss on tokens: both gates, the token branch and the outcome term, in one pass.

Shapes: C tokens, V the ids that the models share.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from trainers.gates.routes import pi_active, trusted
from trainers.losses.divergences import entropy, kl, log_probs, total_variation


class Route(NamedTuple):
    """Decisions that are given instead of being made, `(C,)` bool each."""

    trusted: Tensor
    pi_active: Tensor


@dataclass(frozen=True)
class ChopTokens:
    """A body for `over_tokens`. Source: CHOP Eqs. 3-5.

    reliability: ρ from H(q) and TV(q, p). reliability_threshold, pi_threshold: of the states before
    this step; none in warm-up. reliability_floor: see `trusted`. noise_floor: see `pi_active`.
    outcome_weight: β. token_pi: whether the PI teacher supervises tokens too (else the token branch
    always has the plain teacher: the variant with three cells).
    """

    reliability: Callable[[Tensor, Tensor], Tensor]
    reliability_threshold: float | None
    pi_threshold: float | None
    noise_floor: float
    reliability_floor: float | None = None
    outcome_weight: float = 0.1
    token_pi: bool = True

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        pi_teacher: Tensor,
        sampled: Tensor,
        outcome: Tensor,
        route: Route | None = None,
    ) -> dict[str, Tensor]:
        """Per-token losses and what decided them, `(C,)` each.

        student, teacher, pi_teacher: logits `(C, V)`; without PI, `pi_teacher` is the teacher's.
        sampled: ids `(C,)`; outcome: R in {0, 1} of each token's trajectory, `(C,)`. route: what to
        do whatever the gates say.

        `loss` is the token branch and the outcome term; the segment branch is added at anchors
        among the states that are not `trusted`.
        """
        log_p, log_q, log_q_pi = map(log_probs, (student, teacher, pi_teacher))
        with torch.no_grad():
            teacher_entropy = entropy(log_q)
            tv = total_variation(log_p, log_q)
            rho = self.reliability(teacher_entropy, tv)
            kappa = total_variation(log_q, log_q_pi)
            trust = trusted(rho, self.reliability_threshold, self.reliability_floor)
            active = pi_active(kappa, self.pi_threshold, self.noise_floor)
            if route is not None:
                trust, active = route
            with_pi = active if self.token_pi else active & ~trust
        divergence = kl(log_p, torch.where(with_pi.unsqueeze(-1), log_q_pi, log_q))
        log_p_sampled = log_p.gather(-1, sampled.unsqueeze(-1)).squeeze(-1)
        outcome_term = -self.outcome_weight * outcome * log_p_sampled
        return {
            "loss": torch.where(trust, divergence, outcome_term),
            "kl": divergence.detach(),
            "log_p": log_p_sampled.detach(),
            "teacher_entropy": teacher_entropy,
            "tv": tv,
            "rho": rho,
            "kappa": kappa,
            "trusted": trust,
            "pi_active": with_pi,
        }
