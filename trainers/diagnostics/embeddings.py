"""Segment embeddings: how many dimensions they use, and how far they move what they embed.

Shapes: M embeddings, K and K' segments of an anchor, D embedding size, A anchors.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.diagnostics.intervals import Floats


def singular_values(embeddings: Floats) -> Floats:
    """Of the covariance of `(M, D)`, in falling order, `(min(M, D),)`: variances along its axes."""
    centred = np.asarray(embeddings, np.float64) - np.mean(embeddings, axis=0)
    found: Floats = np.linalg.svd(centred, compute_uv=False) ** 2 / max(1, len(centred) - 1)
    return found


def effective_rank(spectrum: Floats) -> float:
    """`exp(H(λ / Σλ))`, between 1 and the number of values above zero; NaN where none is.

    Source: CHOP App. E.1; Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """
    total = spectrum.sum()
    if not total > 0:
        return float("nan")
    shares = spectrum[spectrum > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def wasserstein(first: Floats, second: Floats) -> float:
    """W2 of two sets of points `(K, D)` and `(K, D)`, over all of D: not sliced.

    Raises ValueError for sets of different size.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} points: give as many of each")
    costs = cdist(first, second, "sqeuclidean")
    return float(np.sqrt(costs[linear_sum_assignment(costs)].mean()))


def first_token_distance(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """TV of the empirical distributions of two sets of first tokens. Source: CHOP App. E.1."""
    ids = np.union1d(first, second)
    shares = [(each[:, None] == ids).mean(0) for each in (first, second)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


class Distortion(NamedTuple):
    """L_e in `W2 ≤ L_e·√TV`, from anchors with a TV above 0.

    bound: the line through the origin that is the 95 % quantile regression, so that about 95 % of
    the anchors lie below it. slope: of least squares through the origin.
    unbounded: anchors with TV = 0 and W2 > 0, which no L_e bounds.
    """

    bound: float
    slope: float
    unbounded: int


def fit_distortion(distances: Floats, variations: Floats, level: float = 0.95) -> Distortion:
    """Fit L_e to anchors' W2 `(A,)` and TV `(A,)`; NaN where no TV is above 0.

    The line that minimises `Σ max(level·r, (level-1)·r)`, `r = W2 - L·√TV`, has the slope that is
    the quantile of W2/√TV with weights √TV. Source: CHOP Eq. 15, App. E.1.
    """
    usable = variations > 0
    unbounded = int((~usable & (distances > 0)).sum())
    if not usable.any():
        return Distortion(float("nan"), float("nan"), unbounded)
    x, y = np.sqrt(variations[usable]), distances[usable]
    order = np.argsort(y / x, kind="stable")
    mass = np.cumsum(x[order])
    place = min(int(np.searchsorted(mass, level * mass[-1] * (1 - 1e-12))), len(order) - 1)
    ratio = (y / x)[order]
    return Distortion(float(ratio[place]), float((x @ y) / (x @ x)), unbounded)
