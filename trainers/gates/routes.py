"""The two decisions of CHOP, for each state: which object, and which teacher."""

import torch
from torch import Tensor

NOISE_FLOOR = 1e-3  # where a teacher's noise is not measured


def trusted(reliability: Tensor, threshold: float | None, floor: float | None = None) -> Tensor:
    """Whether the next-token distribution supervises a state: ρ > τ. All states in warm-up.

    floor: a state above it is trusted whatever the threshold, so that a teacher that is reliable
    everywhere is trusted everywhere. Source: CHOP Eq. 5.
    """
    if threshold is None:
        return torch.ones_like(reliability, dtype=torch.bool)
    return reliability > (threshold if floor is None else min(threshold, floor))


def pi_active(kappa: Tensor, threshold: float | None, noise_floor: float) -> Tensor:
    """Whether the PI teacher supervises a state: κ̂ above threshold and noise. None in warm-up.

    kappa: TV(q, q^P). noise_floor: the TV between two passes of the same base teacher. The
    comparison is strict, so that a stream of zeros activates nothing. Source: CHOP Eq. 4.
    """
    if threshold is None:
        return torch.zeros_like(kappa, dtype=torch.bool)
    return kappa > max(threshold, noise_floor)
