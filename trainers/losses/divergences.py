"""Divergences of next-token distributions, in nats, one value for each token.

Shapes: `…` any leading axes (tokens), V the ids that student and teacher share. Every function
takes finite log-probabilities `(…, V)` and returns `(…)`; p is the student, q the teacher.
"""

from typing import Literal

import torch
from torch import Tensor


def log_probs(logits: Tensor) -> Tensor:
    """Log-probabilities at temperature 1, in float32 or better."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return torch.log_softmax(logits, -1, dtype=dtype)


def entropy(log_p: Tensor) -> Tensor:
    """H(p). Source: CHOP App. B.4."""
    return -(log_p.exp() * log_p).sum(-1)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q): reverse KL where p is the student. Source: CHOP Eq. 10."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def total_variation(log_p: Tensor, log_q: Tensor) -> Tensor:
    """TV(p, q), half of the L1 distance. Source: CHOP App. B.4."""
    return (log_p.exp() - log_q.exp()).abs().sum(-1) / 2


def mixture(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """log of `share·p + (1-share)·q`, `(…, V)`; 0 ≤ share ≤ 1, and at its ends the other is out."""
    weight = torch.tensor(share, dtype=log_p.dtype, device=log_p.device)
    return torch.logaddexp(log_p + weight.log(), log_q + torch.log1p(-weight))


def jensen_shannon(log_p: Tensor, log_q: Tensor, weight: float) -> Tensor:
    """Generalised JSD: `w·KL(q ‖ m) + (1-w)·KL(p ‖ m)` with `m = w·q + (1-w)·p`, 0 < w < 1.

    Source: Agarwal et al. 2024 (GKD), Eq. 1, q being the teacher.
    """
    log_m = mixture(log_q, log_p, weight)
    return weight * kl(log_q, log_m) + (1 - weight) * kl(log_p, log_m)


def top_k_kl(
    log_p: Tensor, log_q: Tensor, k: int, support: Literal["student", "teacher"] = "student"
) -> Tensor:
    """KL(p̃ ‖ q̃), both renormalised on the k likeliest ids of one of them.

    Source: CHOP Eq. 11 (student's support); the teacher's is what the authors of LSM run.
    """
    chosen = (log_p if support == "student" else log_q).detach()
    ids = chosen.topk(min(k, chosen.shape[-1]), dim=-1).indices
    return kl(log_p.gather(-1, ids).log_softmax(-1), log_q.gather(-1, ids).log_softmax(-1))


def partial_kl(log_p: Tensor, log_q: Tensor, ids: Tensor) -> Tensor:
    """What ids `(…, K)` contribute to KL(p ‖ q), without renormalising on them."""
    return kl(log_p.gather(-1, ids), log_q.gather(-1, ids))


def top_k_surrogate(log_p: Tensor, log_q: Tensor, k: int) -> Tensor:
    """`Σ_i p̃_i·(log p_i - log q_i)` on p's k likeliest ids, constant but for a factor log p_i.

    p̃ is p renormalised on them. With all ids its gradient is that of KL(p ‖ q). Source: Li et al.
    2026, as the authors' code has it (the student's support and weights).
    """
    ids = log_p.detach().topk(k, dim=-1).indices
    mine, theirs = log_p.gather(-1, ids), log_q.gather(-1, ids)
    return (mine.softmax(-1) * (mine - theirs)).detach().mul(mine).sum(-1)


def top_k_overlap(log_p: Tensor, log_q: Tensor, k: int) -> Tensor:
    """Share of p's k likeliest ids that are among q's. Source: CHOP App. B.4."""
    mine, theirs = (each.topk(k, dim=-1).indices for each in (log_p, log_q))
    return (mine.unsqueeze(-1) == theirs.unsqueeze(-2)).any(-1).to(log_p.dtype).mean(-1)


def sampled_token_surrogate(log_p_sampled: Tensor, log_q_sampled: Tensor) -> Tensor:
    """A loss whose gradient is, on average over samples of p, that of KL(p ‖ q).

    `log p - log q` of the sampled token is a constant advantage on `log p`: differentiating the
    difference itself gives a gradient of mean zero. Source: CHOP Eq. 9.
    """
    return (log_p_sampled - log_q_sampled).detach() * log_p_sampled
