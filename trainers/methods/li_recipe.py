"""Li et al.: on-policy distillation on the student's likeliest tokens, after a cold start."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import kl, sampled_token_surrogate, top_k_overlap, top_k_surrogate
from trainers.methods.sampled_tokens import SampledTokens


class LiRecipe(SampledTokens):
    """`Σ_{i∈top-k(p)} sg[p̃_i·(log p_i - log q_i)]·log p_i`, p̃ being p renormalised on them.

    `k: 0` takes the sampled token alone, which is what CHOP ran. Source: Li et al. 2026
    (arXiv:2604.13016) and the authors' code (github.com/thunlp/OPD): the student's support, its
    probabilities as weights, k = 16.

    This is the recipe's last stage. The off-policy cold start is method `sequence-kd` (or `sft` on
    `teacher_runs`, for resolved ones alone, as the authors reject invalid ones) with a training
    before it; teacher-aligned prompts are a choice of what `student_runs` were asked, by the
    student that the cold start left. CHOP App. I: 1K teacher rollouts, 5K prompts, 300 steps.
    """

    name: Literal["li-recipe"] = "li-recipe"
    k: int = Field(16, ge=0)

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The surrogate, whose value means nothing; the divergence, and how much both share."""
        found = self.sampled(logits, columns)
        log_p, log_q = found.log_p_all, found.log_q_all
        k = min(self.k, log_p.shape[-1])
        loss = found.ratio * sampled_token_surrogate(found.log_p, found.log_q)
        if k:
            loss = top_k_surrogate(log_p, log_q, k)
        return {
            "loss": loss,
            "kl": kl(log_p, log_q).detach(),
            "overlap": top_k_overlap(log_p.detach(), log_q, k or 1),
        }
