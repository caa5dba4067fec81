"""REOPOLD: on-policy distillation with a floor under the reward, and only on some tokens."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr
from torch import Tensor

from trainers.data.packing import Columns, Row
from trainers.losses.divergences import entropy
from trainers.methods.sampled_tokens import SampledTokens


class REOPOLD(SampledTokens):
    """`-M·max(R, f)·log p(y)` with the constant reward `R = log q(y) - log p(y)`.

    The floor f is `log λ / (1-λ)`, λ `mixture`: `(1-λ)·R` is at most `log(λ + (1-λ)·q/p)`, which is
    at least `log λ`. In the first `exploration_steps` the mask M leaves out tokens below the floor;
    after them it keeps the `kept` share of tokens of which the student is least sure. Source: Ko et
    al. 2026 (REOPOLD, arXiv:2603.11137), Eqs. 4, 7 and 8.

    Reading: neither the paper's text nor code of the authors was at hand, but published notes and
    re-implementations; they agree on masks and reward, not on the floor (`log(λ/(1-λ))` in others),
    nor on λ (0.1 to 0.3). The entropy's quantile is that of the previous step, and the sum is
    divided by all tokens, not by those that M keeps.
    """

    name: Literal["reopold"] = "reopold"
    mixture: float = Field(0.3, gt=0, lt=1)
    kept: float = Field(0.2, gt=0, le=1)
    exploration_steps: int = Field(100, ge=1)

    observes: ClassVar[tuple[str, ...]] = ("student_entropy",)
    _exploring: bool = PrivateAttr(True)
    _threshold: float = PrivateAttr(0.0)

    def begin_row(self, row: Row, step: int, seed: int) -> None:
        """See `Method`."""
        self._exploring = step < self.exploration_steps

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The surrogate, whose value means nothing; `kl` is an estimate of the divergence."""
        found = self.sampled(logits, columns)
        reward = (found.log_q - found.log_p).detach()
        floor = math.log(self.mixture) / (1 - self.mixture)
        unsure = entropy(found.log_p_all.detach())
        mask = reward >= floor if self._exploring else unsure >= self._threshold
        kept = mask.to(reward.dtype)
        return {
            "loss": -found.ratio * kept * reward.clamp(min=floor) * found.log_p,
            "kl": -found.ratio * reward,
            "kept": kept,
            "floored": (reward < floor).to(reward.dtype),
            "student_entropy": unsure,
            "ratio": found.ratio,
        }

    def observe(self, step: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
        """Take the quantile of the student's entropies in a step."""
        seen = np.concatenate([found["student_entropy"] for _, found in sorted(step.items())])
        self._threshold = float(np.quantile(seen, 1 - self.kept))

    def state_dict(self) -> dict[str, Any]:
        """The quantile."""
        return {"threshold": self._threshold}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._threshold = float(state["threshold"])
