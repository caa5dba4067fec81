"""On-policy distillation on the sampled token alone."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from trainers.data.packing import Columns
from trainers.losses.divergences import sampled_token_surrogate
from trainers.methods.sampled_tokens import SampledTokens


class SampledTokenOPD(SampledTokens):
    """`log p(y_t) - log q(y_t)` as a constant advantage on `log p(y_t)`.

    Each token counts with the ratio p/μ of the student to the distribution that it was sampled
    from, at most `ratio_limit`; on average over y ~ μ the gradient is then that of `KL(p ‖ q)`, but
    for what top-p kept from being sampled. Source: CHOP Eq. 9.
    """

    name: Literal["sampled-token-opd"] = "sampled-token-opd"

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The surrogate, whose value means nothing; `kl` is an estimate of the divergence."""
        found = self.sampled(logits, columns)
        return {
            "loss": found.ratio * sampled_token_surrogate(found.log_p, found.log_q),
            "kl": found.ratio * (found.log_p - found.log_q).detach(),
            "ratio": found.ratio,
        }
