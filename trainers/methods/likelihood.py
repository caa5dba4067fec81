"""What methods that raise the likelihood of given tokens share."""

from torch import Tensor

from trainers.losses.divergences import entropy, log_probs


def negative_log_likelihood(logits: Tensor, sampled: Tensor) -> dict[str, Tensor]:
    """`-log p(y)` of tokens `(C,)`, and the student's entropy, from logits `(C, V)`."""
    log_p = log_probs(logits)
    return {
        "loss": -log_p.gather(-1, sampled.unsqueeze(-1)).squeeze(-1),
        "student_entropy": entropy(log_p).detach(),
    }


def chosen(log_p: Tensor, ids: Tensor) -> Tensor:
    """The log-probability of one id `(C,)` in each distribution `(C, V)`."""
    return log_p.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
