"""On-policy distillation on the sampled token alone."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns
from trainers.data.trajectories import Trajectory
from trainers.losses.divergences import log_probs, sampled_token_surrogate
from trainers.methods.base import Method, Role
from trainers.methods.importance import (
    Sampler,
    importance_ratio,
    require_sampled,
    sampler_log_probs,
)
from trainers.methods.likelihood import chosen


class SampledTokenOPD(Method):
    """`log p(y_t) - log q(y_t)` as a constant advantage on `log p(y_t)`.

    Each token counts with the ratio p/μ of the student to the distribution that it was sampled
    from, at most `ratio_limit`; on average over y ~ μ the gradient is then that of `KL(p ‖ q)`, but
    for what top-p kept from being sampled. Source: CHOP Eq. 9.
    """

    name: Literal["sampled-token-opd"] = "sampled-token-opd"
    sampler: Sampler = Sampler.STUDENT
    ratio_limit: float = Field(4.0, gt=1)

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher, and the model that sampled where that is asked for."""
        return (Role.TEACHER, *((Role.ROLLOUT,) if self.sampler is Sampler.ROLLOUT else ()))

    @property
    def share(self) -> float:
        """Only the student's own trajectories."""
        return 1.0

    def prepare(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """All of them, sampled ones."""
        if self.sampler is not Sampler.NOBODY:
            require_sampled(trajectories)
        return list(trajectories)

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The surrogate, whose value means nothing; `kl` is an estimate of the divergence."""
        log_p_all, log_q_all = log_probs(logits[0]), log_probs(logits[1])
        log_p, log_q = chosen(log_p_all, columns.sampled), chosen(log_q_all, columns.sampled)
        ratio = log_p.detach() * 0 + 1
        if self.sampler is not Sampler.NOBODY:
            author = log_probs(logits[2]) if self.sampler is Sampler.ROLLOUT else log_p_all
            log_mu = sampler_log_probs(author.detach(), columns)
            ratio = importance_ratio(log_p, log_mu, self.ratio_limit)
        return {
            "loss": ratio * sampled_token_surrogate(log_p, log_q),
            "kl": ratio * (log_p - log_q).detach(),
            "ratio": ratio,
        }
