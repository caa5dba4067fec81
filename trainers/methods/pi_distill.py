"""π-Distill: the student's half of learning with a teacher that has privileged information."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from trainers.data.errors import DataError
from trainers.data.packing import Columns
from trainers.data.trajectories import Trajectory
from trainers.losses.divergences import kl, log_probs
from trainers.methods.base import Method, Role
from trainers.methods.importance import importance_ratio, require_sampled, sampler_log_probs
from trainers.methods.likelihood import chosen


class PiDistill(Method):
    """`β·g·KL(q^P ‖ p) - (p/μ)·R·log p(y)` with the gate `g = 1[KL(q^P ‖ p) > least_kl]`.

    q^P is the teacher with PI, β `kl_weight`, R the outcome, weighed with `outcome_weight`; p/μ, a
    constant, is the ratio to the distribution that y was sampled from. Source: Penaloza et al. 2026
    (arXiv:2602.04942), `J_Student`, in the form that the authors' post on it gives.

    Reading: the paper trains teacher and student as one model, `α·J_Teacher + (1-α)·J_Student`, on
    samples of the teacher; here the teacher is frozen (α = 0) and trajectories are the student's,
    as all methods that CHOP compares have them. The gate is CHOP's account of the method ("gates PI
    by teacher-student KL"); the objective above has none, which is `least_kl: 0`. No source has a
    number for it.
    """

    name: Literal["pi-distill"] = "pi-distill"
    pi_sources: tuple[str, ...] | None = None
    least_kl: float = Field(0.1, ge=0)
    kl_weight: float = Field(0.25, gt=0)
    outcome_weight: float = Field(1.0, ge=0)
    ratio_limit: float = Field(4.0, gt=1)

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher with PI."""
        return (Role.PI_TEACHER,)

    @property
    def share(self) -> float:
        """Only the student's own trajectories."""
        return 1.0

    def prepare(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """All of them. Raises DataError for one without a grade, or decoded greedily."""
        if self.outcome_weight:
            require_sampled(trajectories)
            for one in trajectories:
                if one.outcome is None:
                    raise DataError(
                        f"trajectory {one.name} has no grade: run `harness grade` on its run "
                        "first, or set method.outcome_weight to 0"
                    )
        return list(trajectories)

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """Both terms, the divergence, and where the gate lets it count."""
        log_p, log_q = map(log_probs, logits)
        divergence = kl(log_q, log_p)
        active = (divergence.detach() > self.least_kl).to(divergence.dtype)
        loss = self.kl_weight * active * divergence
        ratio = torch.ones_like(active)
        if self.outcome_weight:
            log_p_sampled = chosen(log_p, columns.sampled)
            log_mu = sampler_log_probs(log_p.detach(), columns)
            ratio = importance_ratio(log_p_sampled, log_mu, self.ratio_limit)
            loss = loss - self.outcome_weight * ratio * columns.outcome * log_p_sampled
        return {"loss": loss, "kl": divergence.detach(), "pi_active": active, "ratio": ratio}
