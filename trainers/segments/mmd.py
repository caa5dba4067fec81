"""Maximum mean discrepancy of two sets of points: an ablation of sliced Wasserstein."""

import torch
from torch import Tensor


def mmd_squared(first: Tensor, second: Tensor) -> Tensor:
    """Squared MMD of `(K, D)` and `(M, D)` with a Gaussian kernel, all pairs counted: a scalar.

    The bandwidth is the median distance of the pooled points (1 if that is 0).
    Source: CHOP App. J.3.
    """
    pooled = torch.cat([first, second])
    distances = torch.cdist(pooled, pooled)
    pairs = torch.triu_indices(len(pooled), len(pooled), offset=1)
    median = distances[pairs[0], pairs[1]].median().detach()
    bandwidth = torch.where(median > 0, median, torch.ones_like(median))
    kernel = (-distances.square() / (2 * bandwidth.square())).exp()
    k = first.shape[0]
    return kernel[:k, :k].mean() + kernel[k:, k:].mean() - 2 * kernel[:k, k:].mean()
