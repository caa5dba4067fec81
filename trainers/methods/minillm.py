"""MiniLLM: the reverse KL of sequences by policy gradient."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from trainers.data.packing import Columns, Row
from trainers.data.trajectories import Trajectory
from trainers.losses.chunked import over_tokens
from trainers.losses.divergences import kl, log_probs
from trainers.methods.base import Beginning, Role
from trainers.methods.grpo import require_log_probs
from trainers.methods.likelihood import chosen
from trainers.methods.sampled_tokens import SampledTokens

if TYPE_CHECKING:
    from trainers.teachers.base import Teacher


class MiniLLM(SampledTokens):
    """`w_t·(KL(p_t ‖ q_t) - min(ρ_t·A_t, clip(ρ_t, 1-ε, 1+ε)·A_t))`.

    The first term is the step itself (single-step decomposition), the second what the token does to
    later ones: `A_t` is the mean of `r = log q(y) - log p_0(y)` over the tokens after it in its
    trajectory (length normalisation), 0 for the last. p_0 is the student when it sampled, whose
    log-probabilities are recorded, ρ_t = p(y_t)/p_0(y_t), and w_t = p(y_t)/μ(y_t) the ratio to the
    distribution that y_t was sampled from. Source: Gu et al. 2024 (MiniLLM), Eqs. 3-8, Alg. 1.

    Teacher-mixed sampling needs both models while sampling; rollouts are fixed here, so that w_t is
    about temperature and top-p instead. There is no loss on a corpus of plain text. The authors'
    code also discounts by 0.95, counts the token's own reward in `A_t`, and whitens it.
    """

    name: Literal["minillm"] = "minillm"
    clip: float = Field(0.2, gt=0, lt=1)

    _teacher: "Teacher" = PrivateAttr()
    _chunk: int = PrivateAttr(512)
    _kept: dict[str, Tensor] = PrivateAttr(default_factory=dict)
    _advantage: Tensor = PrivateAttr()

    def prepare(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """All of them, sampled ones with recorded log-probabilities."""
        require_log_probs(trajectories)
        return super().prepare(trajectories)

    def begin(self, out: Path, step: int, work: Beginning) -> None:
        """Keep the teacher: rewards are of whole trajectories, and are asked for row by row."""
        self._teacher, self._chunk = work.teachers[Role.TEACHER], work.chunk

    def begin_row(self, row: Row, step: int, seed: int) -> None:
        """Make the row's advantages, unless they are known from an earlier epoch."""
        missing = [one for one in row.trajectories if one.name not in self._kept]
        for one in missing:
            self._kept[one.name] = later_mean(self._rewards(one))
        parts = [self._kept[one.name] for one in row.trajectories]
        self._advantage = torch.cat(parts).to(row.ids.device)

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """Both terms, and how far the student is from what it was."""
        found = self.sampled(logits, columns)
        advantage = self._advantage[columns.number]
        moved = (found.log_p - columns.recorded).exp()
        clipped = moved.clamp(1 - self.clip, 1 + self.clip)
        now = kl(found.log_p_all, found.log_q_all)
        later = torch.minimum(moved * advantage, clipped * advantage)
        return {
            "loss": found.ratio * (now - later),
            "kl": now.detach(),
            "later": advantage,
            "clipped": ((moved - 1) * advantage.sign() > self.clip).float(),
            "ratio": found.ratio,
        }

    def _rewards(self, one: Trajectory) -> Tensor:
        """`log q(y) - log p_0(y)` of its sampled tokens, `(N,)`."""
        sampled = torch.from_numpy(one.ids[one.positions].astype("int64"))
        recorded = torch.from_numpy(one.log_probs[one.positions])
        source = self._teacher.project([one])

        def body(logits: Tensor, ids: Tensor) -> dict[str, Tensor]:
            return {"log_q": chosen(log_probs(logits), ids)}

        device = source.columns[0].device
        with torch.no_grad():
            found = over_tokens(body, [source], sampled.to(device), chunk=self._chunk)
        return found["log_q"].cpu() - recorded


def later_mean(rewards: Tensor) -> Tensor:
    """The mean of what comes after each place, `(N,)`; 0 at the last."""
    after = rewards.double().flip(0).cumsum(0).flip(0) - rewards.double()
    count = torch.arange(len(rewards) - 1, -1, -1).clamp(min=1)
    return (after / count).to(rewards.dtype)
