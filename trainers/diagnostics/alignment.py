"""Alignment: does the teacher's next-token reward point where the sequence's return does?

With `g(v) = ∇ log p(v)`, Eq. 2 is the cosine of `E_v[g(v)·R_T(v)]` and `E_v[g(v)·R*(v)]`, v drawn
from p and `R_T = log q - log p`. As printed, R* depends on the state alone; then the second mean is
zero (`E_v[g(v)] = 0`) and the cosine does not exist. Here R* is the return after v, which "N
teacher rollouts" from the state give: rollout j begins with a token v_j of q and returns r_j.
Source: CHOP Eq. 2, App. N.1.

Shapes: V the ids that student and teacher share, N rollouts of a state, D the size of a gradient.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Alignment(NamedTuple):
    """α of a state and its standard error; NaN where all rollouts return the same."""

    value: float
    error: float


def reference_states(name: str, states: int, count: int, seed: int = 0) -> NDArray[np.int64]:
    """At most `count` of a trajectory's states, drawn evenly by a hash of its name, in order.

    Source: CHOP App. N.1 (ii), with 12.
    """
    if states <= count:
        return np.arange(states, dtype=np.int64)
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    drawn = np.random.default_rng(int.from_bytes(digest[:8])).choice(states, count, replace=False)
    return np.sort(drawn).astype(np.int64)


def token_direction(log_p: Tensor, log_q: Tensor) -> Tensor:
    """`E_v[g(v)·R_T(v)]` with respect to the student's logits: minus the gradient of KL(p ‖ q).

    log_p, log_q and the result: `(…, V)`.
    """
    reward = log_q - log_p
    p = log_p.exp()
    return p * (reward - (p * reward).sum(-1, keepdim=True))


def return_direction(log_p: Tensor, returns: Tensor) -> Tensor:
    """`E_v[g(v)·R*(v)]` with respect to the logits, where R* of every id is known, `(…, V)`."""
    p = log_p.exp()
    return p * (returns - (p * returns).sum(-1, keepdim=True))


def rollout_directions(log_p: Tensor, first: Tensor) -> Tensor:
    """`g(v_j)` with respect to the logits, of rollouts that begin with the ids `first` `(N,)`.

    log_p: `(V,)`; the result: `(N, V)`.
    """
    directions = -log_p.exp().expand(len(first), -1).clone()
    directions[torch.arange(len(first)), first] += 1
    return directions


def rollout_weights(log_p: Tensor, log_q: Tensor, first: Tensor) -> Tensor:
    """`p(v_j)/q(v_j)` `(N,)`: the mean in Eq. 2 is over the student's tokens, these are not."""
    return (log_p[first] - log_q[first]).exp()


def alignment(token: Tensor, directions: Tensor, returns: Tensor, weights: Tensor) -> Alignment:
    """Eq. 2 with its second mean estimated from N rollouts: `1/N · Σ_j w_j (r_j - b) g(v_j)`.

    b, the weighted mean return of the other rollouts, leaves the mean gradient as it is and takes
    away noise. token: `(D,)`; directions: `(N, D)`; returns, weights: `(N,)`. The error is the
    jackknife's over rollouts, each keeping its baseline. Noise in the second mean pulls the cosine
    towards 0.
    """
    count = len(returns)
    if count < 2 or bool((returns == returns[0]).all()):
        return Alignment(np.nan, np.nan)
    token, directions = token.double(), directions.double()
    returns, weights = returns.double(), weights.double()
    baseline = ((weights * returns).sum() - weights * returns) / (
        weights.sum() - weights
    ).clamp_min(torch.finfo(torch.float64).tiny)
    scale = weights * (returns - baseline)
    gram = directions @ directions.T
    along = directions @ token
    length = token.norm()

    def cosine(each: Tensor) -> Tensor:
        norm = (each * (each @ gram)).sum(-1).clamp_min(0).sqrt()
        found: Tensor = each @ along / (norm * length)
        return found

    value = float(cosine(scale))
    without = scale * (1 - torch.eye(count, dtype=torch.float64))
    found = cosine(without)
    error = float(((count - 1) / count * (found - found.mean()).square().sum()).sqrt())
    return Alignment(value, error)
