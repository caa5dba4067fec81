"""Alignment on distributions small enough to enumerate."""

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.diagnostics.alignment import (
    alignment,
    reference_states,
    return_direction,
    rollout_directions,
    rollout_weights,
    token_direction,
)
from trainers.losses.divergences import kl, log_probs


def _toy() -> tuple[Tensor, Tensor, Tensor]:
    """log p, log q and a return for each of five ids."""
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return *log_probs(logits), torch.tensor([1.0, 0.0, 0.5, 0.0, 1.0], dtype=torch.float64)


def _scores(log_p: Tensor) -> Tensor:
    """∇ log p(v) by the logits, by automatic differentiation, a row for each v."""
    logits = log_p.clone().requires_grad_()
    rows = [torch.autograd.grad(log_probs(logits)[v], logits)[0] for v in range(len(logits))]
    return torch.stack(rows)


def test_directions_are_the_means_of_equation_2() -> None:
    log_p, log_q, returns = _toy()
    scores, p = _scores(log_p), log_p.exp()
    by_token = (p * (log_q - log_p)) @ scores
    assert torch.allclose(token_direction(log_p, log_q), by_token)
    assert torch.allclose(return_direction(log_p, returns), (p * returns) @ scores)
    assert torch.allclose(rollout_directions(log_p, torch.arange(5)), scores)
    logits = log_p.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kl(log_probs(logits), log_q), logits)
    assert torch.allclose(token_direction(log_p, log_q), -gradient)


def test_a_return_of_the_state_alone_moves_nothing() -> None:
    log_p, log_q, _ = _toy()
    assert torch.allclose(return_direction(log_p, torch.full((5,), 0.7).double()), log_p * 0)
    first = torch.tensor([0, 1, 1, 4])
    found = alignment(
        token_direction(log_p, log_q),
        rollout_directions(log_p, first),
        torch.full((4,), 0.7),
        rollout_weights(log_p, log_q, first),
    )
    assert np.isnan(found.value)


def test_the_mean_over_rollouts_is_the_mean_over_the_student() -> None:
    """All pairs of first tokens, by their probability: the baseline takes nothing away."""
    log_p, log_q, returns = _toy()
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    mean = torch.zeros(5, dtype=torch.float64)
    for pair in pairs:
        weights = rollout_weights(log_p, log_q, pair)
        scale = weights * (returns[pair] - returns[pair].flip(0))
        found = (scale[:, None] * rollout_directions(log_p, pair)).mean(0)
        mean += log_q[pair].sum().exp() * found
    assert torch.allclose(mean, return_direction(log_p, returns))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_teacher_that_rewards_what_pays_is_aligned(sign: int) -> None:
    log_p, _, returns = _toy()
    log_q = log_probs(log_p + sign * returns)
    exact = torch.cosine_similarity(
        token_direction(log_p, log_q), return_direction(log_p, returns), dim=0
    )
    assert float(exact) == pytest.approx(sign)
    first = torch.arange(5).repeat_interleave((log_q.exp() * 400).round().long())
    found = alignment(
        token_direction(log_p, log_q),
        rollout_directions(log_p, first),
        returns[first],
        rollout_weights(log_p, log_q, first),
    )
    assert found.value == pytest.approx(sign, abs=0.01)
    assert 0 <= found.error < 0.03


def test_the_error_is_the_spread_over_repetitions() -> None:
    log_p, log_q, returns = _toy()
    draws = torch.multinomial(
        log_q.exp(), 100 * 200, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    found = [
        alignment(
            token_direction(log_p, log_q),
            rollout_directions(log_p, first),
            returns[first],
            rollout_weights(log_p, log_q, first),
        )
        for first in draws.reshape(200, 100)
    ]
    spread = np.std([one.value for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.15)


def test_reference_states_are_even_and_their_own() -> None:
    assert reference_states("a", 9, 12).tolist() == list(range(9))
    drawn = [reference_states(f"run/i/{number}#0", 100, 12) for number in range(400)]
    assert all(len(one) == 12 == len(set(one.tolist())) for one in drawn)
    assert drawn[0].tolist() == sorted(reference_states("run/i/0#0", 100, 12).tolist())
    assert drawn[0].tolist() != drawn[1].tolist()
    counts = np.bincount(np.concatenate(drawn), minlength=100)
    assert counts.min() > 20
    assert counts.max() < 80
