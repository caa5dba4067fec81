"""Sliced Wasserstein distance of two sets of points.

Shapes: K and M points, D dimensions, L projections.
"""

import itertools
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import normalize


def unit_projections(count: int, dimension: int, generator: torch.Generator) -> Tensor:
    """Directions `(L, D)`, uniform on the unit sphere, float32."""
    return normalize(torch.randn(count, dimension, generator=generator), dim=-1)


def sliced_wasserstein_squared(first: Tensor, second: Tensor, projections: Tensor) -> Tensor:
    """Mean over projections of the squared 1-D W2 distance of `(K, D)` and `(M, D)`: a scalar.

    It is the square of POT's `sliced_wasserstein_distance`. Source: CHOP §4.3.
    """
    return transport_costs(first, second, projections).sum(-1).mean()


def transport_costs(first: Tensor, second: Tensor, projections: Tensor) -> Tensor:
    """What each point of `second` costs in each projection, `(L, M)`; a row sums to its squared W2.

    On a line, optimal transport couples equal quantiles: with sorted points of K and M, the mass
    between neighbouring multiples of 1/K and 1/M goes from one point to one.
    """
    ours, theirs = projections @ first.T, projections @ second.T
    ours = ours.sort(-1).values
    theirs, order = theirs.sort(-1)
    left, right, mass = _coupling(first.shape[0], second.shape[0])
    weights = torch.tensor(mass, dtype=ours.dtype, device=ours.device)
    pieces = (ours[:, list(left)] - theirs[:, list(right)]).square() * weights
    costs = torch.zeros_like(theirs)
    return costs.scatter_add(-1, order[:, list(right)], pieces)


@cache
def _coupling(k: int, m: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]:
    """Indices of the two sorted sets and the mass that goes between them."""
    ends = sorted({Fraction(i, k) for i in range(k + 1)} | {Fraction(j, m) for j in range(m + 1)})
    steps = list(itertools.pairwise(ends))
    return (
        tuple(int(start * k) for start, _ in steps),
        tuple(int(start * m) for start, _ in steps),
        tuple(float(end - start) for start, end in steps),
    )
