"""SOD: on-policy distillation that trusts the teacher less in turns where the student drifted."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns, Row
from trainers.data.trajectories import Trajectory
from trainers.methods.base import RowWork
from trainers.methods.grpo import with_group_advantages
from trainers.methods.sampled_tokens import SampledTokens


class SOD(SampledTokens):
    """`-(η·A + w_k·(log q(y) - log p(y)))·log p(y)` for tokens of turn k, the bracket constant.

    `w_1 = 1` and `w_k = min(Π_{u<k} (d_u + ε)/(d_{u+1} + ε), 1 + δ)`, whose product is
    `(d_1 + ε)/(d_k + ε)`; d_k is the mean of `|log p(y) - log q(y)|` over turn k, ε 1e-6, δ
    `excess`. A is the outcome relative to the instance's other attempts, as in `grpo`, and η
    `outcome_weight`. Source: Zhong et al. 2026 (SOD, arXiv:2605.07725), Eq. 7, and the authors'
    code (github.com/YoungZ365/SOD), whose defaults these are.

    Where they clip the ratio to the previous policy, tokens count with p/μ; a turn is a call of the
    model, and a conversation that was begun anew has its own first turn.
    """

    name: Literal["sod"] = "sod"
    excess: float = Field(0.2, ge=0)
    outcome_weight: float = Field(1.0, ge=0)

    def prepare(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """All of them, with advantages; see `grpo`. Raises DataError for one without a grade."""
        found = super().prepare(trajectories)
        return with_group_advantages(found) if self.outcome_weight else found

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """log p(y), which `beyond_tokens` weighs when whole turns are known."""
        found = self.sampled(logits, columns)
        gap = (found.log_p - found.log_q).detach()
        return {
            "loss": found.log_p,
            "gap": gap,
            "kl": found.ratio * gap,
            "advantage": columns.advantage,
            "ratio": found.ratio,
        }

    def beyond_tokens(self, work: RowWork) -> dict[str, Tensor]:
        """What is missing to the surrogate, whose value means nothing."""
        gap, found = work.found["gap"], work.found
        weight = turn_weights(gap, turns_of(work.row), self.excess)
        advantage = self.outcome_weight * found["advantage"] if self.outcome_weight else 0.0
        factor = found["ratio"] * (weight * gap - advantage)
        return {"loss": (factor - 1) * found["loss"], "turn_weight": weight}


class Turns(NamedTuple):
    """Turns of a row, `(K,)`: their tokens, and the number of their trajectory's first turn."""

    lengths: Tensor
    first: Tensor


def turns_of(row: Row) -> Turns:
    """The turns of a row in which tokens were sampled."""
    lengths: list[int] = []
    first: list[int] = []
    for one in row.trajectories:
        mine = [turn.end - turn.start for turn in one.turns if turn.end > turn.start]
        first += [len(lengths)] * len(mine)
        lengths += mine
    return Turns(*(torch.tensor(each, device=row.ids.device) for each in (lengths, first)))


def turn_weights(gap: Tensor, turns: Turns, excess: float, least: float = 1e-6) -> Tensor:
    """w_k of each token's turn, `(N,)`, from its `log p - log q`, `(N,)`."""
    number = torch.arange(len(turns.lengths), device=gap.device)
    turn = number.repeat_interleave(turns.lengths)
    mean = torch.zeros(len(number), dtype=gap.dtype, device=gap.device)
    mean = mean.index_add(0, turn, gap.abs()) / turns.lengths + least
    weight = (mean[turns.first] / mean).clamp(max=1 + excess)
    return torch.where(number == turns.first, 1.0, weight)[turn]
