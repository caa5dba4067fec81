"""EOPD: a forward KL beside the reverse one where the teacher is unsure."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import entropy, partial_kl, sampled_token_surrogate
from trainers.methods.sampled_tokens import SampledTokens


class EOPD(SampledTokens):
    """`sg[log p(y) - log q(y)]·log p(y) + α·1[H(q) ≥ τ]·Σ_{i∈top-k(q)} q_i·log(q_i/p_i)`.

    τ is `threshold` in nats, α `forward_weight`; q is not renormalised on its k likeliest ids. The
    first term is there at every token: the forward KL is added, not chosen instead. Source: Jin et
    al. 2026 (EOPD, arXiv:2603.07079), `L_OPD + 1[H_T > τ]·L_FKL^{top-k}`.

    Reading: the paper's abstract says "augmenting"; that this is a sum with τ = 0.8, k = 16 and
    α = 1 is what published notes on the paper (§5.1, App. F) and on the authors' code say, which
    was not at hand here. Where they clip the ratio to the previous policy, tokens count with p/μ.
    """

    name: Literal["eopd"] = "eopd"
    threshold: float = Field(0.8, ge=0)
    k: int = Field(16, ge=1)
    forward_weight: float = Field(1.0, ge=0)

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """Both terms; `kl` estimates the reverse KL, `unsure` says where the second is added."""
        found = self.sampled(logits, columns)
        log_p, log_q = found.log_p_all, found.log_q_all
        teacher_entropy = entropy(log_q)
        unsure = (teacher_entropy >= self.threshold).to(log_q.dtype)
        ids = log_q.topk(min(self.k, log_q.shape[-1]), dim=-1).indices
        forward = partial_kl(log_q, log_p, ids)
        reverse = found.ratio * sampled_token_surrogate(found.log_p, found.log_q)
        return {
            "loss": reverse + self.forward_weight * unsure * forward,
            "kl": found.ratio * (found.log_p - found.log_q).detach(),
            "forward_kl": forward.detach(),
            "unsure": unsure,
            "teacher_entropy": teacher_entropy,
            "ratio": found.ratio,
        }
