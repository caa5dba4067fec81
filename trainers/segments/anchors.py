"""Where segments are sampled: a few states of each trajectory stand for all that need them."""

from typing import NamedTuple

import torch
from torch import Tensor


class Anchors(NamedTuple):
    """Positions `(A,)` in increasing order and the weight of each."""

    positions: Tensor
    weights: Tensor


def draw_anchors(untrusted: Tensor, budget: int, generator: torch.Generator) -> Anchors:
    """Draw at most `budget` of a trajectory's untrusted states, `(T,)` bool, without replacement.

    Each carries the inverse of its probability as weight, so that the weighted sum over anchors has
    the sum over all untrusted states as its mean. Raises ValueError for a budget below 1.
    """
    if budget < 1:
        raise ValueError(f"a budget of {budget} anchors: at least 1 is needed")
    states = untrusted.nonzero().squeeze(-1)
    if len(states) > budget:
        chosen = torch.randperm(len(states), generator=generator)[:budget].sort().values
        weight = len(states) / budget
        states = states[chosen.to(states.device)]
    else:
        weight = 1.0
    return Anchors(states, torch.full((len(states),), weight, device=untrusted.device))
