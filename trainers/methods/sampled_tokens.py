"""What methods share that learn from the sampled token alone."""

from abc import ABC
from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns
from trainers.data.trajectories import Trajectory
from trainers.losses.divergences import log_probs
from trainers.methods.base import Method, Role
from trainers.methods.importance import (
    Sampler,
    importance_ratio,
    require_sampled,
    sampler_log_probs,
)
from trainers.methods.likelihood import chosen


class Sampled(NamedTuple):
    """log p and log q of all ids `(C, V)` and of the sampled ones `(C,)`, and p/μ of these `(C,)`.

    Only `log_p_all` and `log_p` have a gradient.
    """

    log_p_all: Tensor
    log_q_all: Tensor
    log_p: Tensor
    log_q: Tensor
    ratio: Tensor


class SampledTokens(Method, ABC):
    """A method on sampled tokens, each of which counts with the ratio p/μ.

    μ is what it was sampled from: `sampler` says by whose logits; the ratio is at most
    `ratio_limit`.
    """

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

    def sampled(self, logits: Sequence[Tensor], columns: Columns) -> Sampled:
        """What is known of a chunk's tokens; logits as `tokens` has them."""
        log_p_all, log_q_all = log_probs(logits[0]), log_probs(logits[1])
        log_p, log_q = chosen(log_p_all, columns.sampled), chosen(log_q_all, columns.sampled)
        ratio = torch.ones_like(log_q)
        if self.sampler is not Sampler.NOBODY:
            author = log_probs(logits[2]) if self.sampler is Sampler.ROLLOUT else log_p_all
            log_mu = sampler_log_probs(author.detach(), columns)
            ratio = importance_ratio(log_p, log_mu, self.ratio_limit)
        return Sampled(log_p_all, log_q_all, log_p, log_q, ratio)
