"""OmniOPD: a text teacher's verdicts on the student's uncertain chunks, and an anchor elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from trainers.data.packing import Columns, Row
from trainers.data.trajectories import Trajectory
from trainers.losses.divergences import entropy, kl, log_probs
from trainers.methods.base import Beginning, Method, Role
from trainers.methods.likelihood import chosen
from trainers.omniopd.similarity import SimilarityName


class _Weights(NamedTuple):
    """Of each sampled token: of -log p, of the KL to the reference, and whether it was audited."""

    chunk: Tensor
    anchor: Tensor
    audited: Tensor


class OmniOPD(Method):
    """`-Σ_c π̂_c Σ_{t∈c} log p(y_t) + β Σ_{t∈U} KL(π_ref ‖ p_t)` for a trajectory of the student.

    c are `chunks` chunks of `chunk_tokens` tokens that begin where the student was least sure, U
    is everything else. `π̂ = (Σ_i φ(y_c, y_i) + α·π̄)/(n+α)` of n `rollouts` of the text teacher, φ
    the `similarity`, α the `prior_strength`, π̄ the geometric mean of the student's probabilities
    (`prior: reference` takes the reference's). β: `anchor`.

    `reduction: sum` is the formula, averaged over trajectories; under `token_mean` either sum is a
    mean over its tokens, so that β does not depend on how many they are. `baseline: mean` takes the
    mean of all π̂ from each: chunks below it are made less likely.

    Source: OmniOPD Eq. 3-8, Alg. 1; uniform selection, α = 0 and β = 0 are its Table 6.
    """

    name: Literal["omniopd"] = "omniopd"
    chunks: int = Field(10, ge=1)
    chunk_tokens: int = Field(50, ge=1)
    rollouts: int = Field(10, ge=1)
    similarity: SimilarityName = "edit"
    selection: Literal["entropy", "uniform"] = "entropy"
    prior: Literal["rollout", "reference"] = "rollout"
    prior_strength: float = Field(1.0, ge=0)
    anchor: float = Field(0.1, ge=0)
    reduction: Literal["sum", "token_mean"] = "sum"
    baseline: Literal["none", "mean"] = "none"

    _weights: dict[str, _Weights] = PrivateAttr(default_factory=dict)
    _row: _Weights = PrivateAttr()

    @property
    def roles(self) -> tuple[Role, ...]:
        """The anchor."""
        return (Role.REFERENCE,)

    @property
    def share(self) -> float:
        """The student's own trajectories."""
        return 1.0

    @property
    def asks_for_text(self) -> bool:
        """It does."""
        return True

    def divisor(self, batch: Sequence[Trajectory]) -> int:
        """Trajectories: the sums within one are part of the formula."""
        return len(batch)

    def begin(self, out: Path, step: int, work: Beginning) -> None:
        """Have every trajectory that will be drawn audited."""
        from trainers.omniopd.audit import audits  # it needs networks, which need methods

        found = audits(self, out, work)
        targets = [each.target for one in found.values() for each in one]
        baseline = float(np.mean(targets)) if self.baseline == "mean" and targets else 0.0
        for one in work.drawn:
            weight = torch.zeros(one.sampled_tokens)
            audited = torch.zeros(one.sampled_tokens)
            for each in found.get(one.name, ()):
                weight[each.start : each.end] = each.target - baseline
                audited[each.start : each.end] = 1
            anchor = self.anchor * (1 - audited)
            if self.reduction == "token_mean":
                weight /= audited.sum().clamp(min=1)
                anchor /= (1 - audited).sum().clamp(min=1)
            self._weights[one.name] = _Weights(weight, anchor, audited)

    def begin_row(self, row: Row, step: int, seed: int) -> None:
        """See `Method`."""
        parts = [self._weights[one.name] for one in row.trajectories]
        self._row = _Weights(
            *(torch.cat(each).to(row.ids.device) for each in zip(*parts, strict=True))
        )

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """Both terms of each token, H(p), KL(π_ref ‖ p), and whether it was audited."""
        log_p, log_reference = map(log_probs, logits)
        weight, anchor, audited = (each[columns.number] for each in self._row)
        drift = kl(log_reference, log_p)
        chunk_loss = -weight * chosen(log_p, columns.sampled)
        anchor_loss = anchor * drift
        return {
            "loss": chunk_loss + anchor_loss,
            "chunk_loss": chunk_loss.detach(),
            "anchor_loss": anchor_loss.detach(),
            "kl_to_reference": drift.detach(),
            "entropy": entropy(log_p).detach(),
            "audited": audited,
        }
