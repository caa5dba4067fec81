"""Several PI adapters as one teacher."""

from collections.abc import Sequence

import torch
from torch import Tensor


def compose_logits(base: Tensor, adapted: Sequence[Tensor]) -> Tensor:
    """`z = z_base + Σ_i (z_i - z_base)`, in float32 or better: logits of the composed teacher.

    All of one shape `(…, V)`, each from a full forward pass of its own. No adapter gives the base,
    one adapter gives that adapter, and the order does not matter. Source: CHOP Eq. 14.
    """
    if not adapted:
        return base
    if len(adapted) == 1:
        return adapted[0]
    dtype = torch.promote_types(base.dtype, torch.float32)
    base = base.to(dtype)
    shifts = torch.stack([each.to(dtype) - base for each in adapted])
    return base + shifts.sort(dim=0).values.sum(dim=0)
