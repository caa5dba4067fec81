"""Samples of one distribution as samples of another: importance ratios, written out.

Rollouts are sampled at a temperature and cut to a nucleus (T = 0.7, top-p 0.95), while losses are
about the model itself (T = 1, everything). Shapes: C sampled tokens, V the vocabulary.
"""

from collections.abc import Sequence
from enum import StrEnum

import torch
from torch import Tensor

from trainers.data.errors import DataError
from trainers.data.packing import Columns
from trainers.data.trajectories import Trajectory
from trainers.methods.likelihood import chosen


class Sampler(StrEnum):
    """Whose logits say how likely a sampled token was to be sampled."""

    NOBODY = "nobody"  # tokens count as if sampled at T = 1 from everything: biased, no ratio
    STUDENT = "student"  # the student's own, now: exact while it is the one that sampled
    ROLLOUT = "rollout"  # a frozen copy of the model that sampled: exact at every step


def sampler_log_probs(log_p: Tensor, columns: Columns) -> Tensor:
    """`log μ(y)`, `(C,)`: of the sampled ids after temperature and top-p, from `log p`, `(C, V)`.

    The nucleus is the smallest set of likeliest ids with a mass of top-p or more; a sampled id
    belongs to it even where rounding puts it outside.
    """
    tempered = (log_p / columns.temperature.unsqueeze(-1)).log_softmax(-1)
    sampled = chosen(tempered, columns.sampled)
    if bool((columns.top_p >= 1).all()):
        return sampled
    likeliest = tempered.sort(dim=-1, descending=True).values.exp()
    mass = likeliest.cumsum(-1)
    inside = (mass - likeliest) < columns.top_p.unsqueeze(-1)
    kept = (likeliest * inside).sum(-1)
    least = torch.where(inside, likeliest, torch.inf).amin(-1)
    cut_off = sampled.exp() < least
    kept = torch.where(columns.top_p >= 1, 1.0, kept + cut_off * sampled.exp())
    return sampled - kept.log()


def importance_ratio(log_p: Tensor, log_mu: Tensor, limit: float) -> Tensor:
    """`min(p(y) / μ(y), limit)`, `(C,)`, a constant: a limit above 1 trades bias for variance.

    The mean of `ratio · f(y)` over y ~ μ is the mean of f over y ~ p, where μ covers p and the
    limit is not reached. Source: Ionides 2008 (truncated importance sampling), Eq. 3.
    """
    return (log_p - log_mu).detach().exp().clamp(max=limit)


def require_sampled(trajectories: Sequence[Trajectory]) -> None:
    """Raise DataError when some trajectory was decoded greedily: it is a sample of nothing."""
    for one in trajectories:
        if any(turn.temperature <= 0 for turn in one.turns):
            raise DataError(
                f"trajectory {one.name} was decoded at temperature 0, so importance ratios do not "
                "exist: roll out at a temperature above 0, or set method.sampler to 'nobody'"
            )
