"""How far a teacher's next-token distribution can be relied on, from two numbers a state."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """ρ = exp(-λ1·H(q) - λ2·TV(q, p)), in [0, 1]. Source: CHOP Eq. 3.

    entropy_weight: λ1 ≥ 0, per nat; tv_weight: λ2 ≥ 0. Fixed once calibrated.
    """

    entropy_weight: float
    tv_weight: float

    def __post_init__(self) -> None:
        if self.entropy_weight < 0 or self.tv_weight < 0:
            raise ValueError(f"weights must not be negative: {self}")

    def __call__(self, teacher_entropy: Tensor, tv: Tensor) -> Tensor:
        """ρ of states, from H(q) in nats and TV(q, p)."""
        return (-self.entropy_weight * teacher_entropy - self.tv_weight * tv).exp()


@dataclass(frozen=True)
class LogisticReliability:
    """ρ = σ(a·(H_max - H(q)) - b·TV(q, p)). Source: CHOP App. B.4.

    It orders states as `Reliability` does only where `a / b` is `λ1 / λ2`: an option of its own.
    """

    entropy_slope: float
    tv_slope: float
    entropy_maximum: float

    def __call__(self, teacher_entropy: Tensor, tv: Tensor) -> Tensor:
        """ρ of states, from H(q) in nats and TV(q, p)."""
        certain = self.entropy_slope * (self.entropy_maximum - teacher_entropy)
        return (certain - self.tv_slope * tv).sigmoid()


def calibrate(teacher_entropy: Floats, tv: Floats, reference: Floats) -> Reliability:
    """The weights that fit a reference reliability ρ* in [0, 1] best, by least squares.

    Shapes: `(states,)` each; the paper uses 1,024. Raises ValueError for empty, uneven or
    non-finite input. Source: CHOP §3.2.
    """
    from scipy.optimize import minimize

    data = np.stack([teacher_entropy, tv, reference]).astype(np.float64)
    if data.shape[1] == 0 or not np.isfinite(data).all():
        raise ValueError(
            f"calibration needs finite numbers of at least one state, got {data.shape}"
        )
    features, target = data[:2], data[2]

    def loss(weights: Floats) -> tuple[float, Floats]:
        fitted = np.exp(-weights @ features)
        error = fitted - target
        return float(error @ error), -2 * features @ (error * fitted)

    starts = [np.array([a, b]) for a in (0.1, 1.0) for b in (0.1, 1.0)]
    fits = [minimize(loss, start, jac=True, bounds=[(0, None)] * 2) for start in starts]
    best = min(fits, key=lambda fit: float(fit.fun))
    return Reliability(*(float(each) for each in best.x))


def outcome_free(teacher_entropy: Floats, tv: Floats) -> Reliability:
    """Weights that divide H and TV by their largest values on a corpus: no outcome is used.

    Source: CHOP Eq. 13.
    """
    largest = float(np.max(teacher_entropy)), float(np.max(tv))
    if min(largest) <= 0:
        raise ValueError(f"the corpus has no state with entropy and distance above 0: {largest}")
    return Reliability(1 / largest[0], 1 / largest[1])
