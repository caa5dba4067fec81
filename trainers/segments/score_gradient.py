"""Weights on the log-probabilities of sampled segments whose gradient follows the segment loss.

The embedding is a constant, so the loss moves only through which segments are likely: each sampled
segment k gets a constant weight, and `Σ_k weight_k · log p(segment_k)` is differentiated.
Shapes: K teacher and M student segments, D embedding size, L projections.
"""

from collections.abc import Callable
from enum import StrEnum

import torch
from torch import Tensor

from trainers.segments.wasserstein import sliced_wasserstein_squared, transport_costs


class Estimator(StrEnum):
    """Source: CHOP App. J.2, Table 13."""

    MARGINAL = "marginal"  # SW²(all) - SW²(all without k): unbiased
    PAPER_LOO = "paper_loo"  # cost of k less the mean cost of the others: biased
    MEAN_BASELINE = "mean_baseline"  # cost of k less the mean cost: biased
    VANILLA = "vanilla"  # cost of k: biased
    LOO_NORMALISED = "loo_normalised"  # as paper_loo, at unit variance: biased


def segment_weights(
    teacher: Tensor, student: Tensor, projections: Tensor, estimator: Estimator
) -> Tensor:
    """Weights `(M,)` of the student's segments, without gradient.

    teacher, student: embeddings `(K, D)` and `(M, D)`. Raises ValueError for fewer than two student
    segments where others are left out.
    """
    with torch.no_grad():
        if estimator is Estimator.MARGINAL:
            return marginal_weights(
                lambda points: sliced_wasserstein_squared(teacher, points, projections), student
            )
        # M times a row's costs, whose mean is the squared distance.
        costs = transport_costs(teacher, student, projections).mean(0) * len(student)
        match estimator:
            case Estimator.VANILLA:
                weights = costs
            case Estimator.MEAN_BASELINE:
                weights = costs - costs.mean()
            case _:
                _need_two(student)
                weights = costs - (costs.sum() - costs) / (len(costs) - 1)
        if estimator is Estimator.LOO_NORMALISED:
            weights = weights / weights.std(correction=0).clamp_min(1e-8)
        return weights / len(costs)


def marginal_weights(loss: Callable[[Tensor], Tensor], student: Tensor) -> Tensor:
    """`loss(all) - loss(all without k)` for each point k of `(M, D)`: `(M,)`.

    What is subtracted does not depend on k, so that the weighted scores have the gradient of the
    expected loss as their mean, for any loss of a set of independent samples.
    """
    _need_two(student)
    with torch.no_grad():
        kept = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
        without = torch.stack([loss(student[others]) for others in kept])
        return loss(student) - without


def _need_two(student: Tensor) -> None:
    if len(student) < 2:
        raise ValueError(f"leaving one out needs two student segments at least, got {len(student)}")
