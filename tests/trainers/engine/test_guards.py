"""A loss that runs away is seen, one that only moves is not."""

import math

from trainers.engine.config import GuardSettings
from trainers.engine.guards import DivergenceGuard


def test_numbers_that_are_none_are_seen_at_once() -> None:
    guard = DivergenceGuard(GuardSettings())
    assert guard.problem(math.nan, 1.0) == "the loss is nan"
    assert guard.problem(1.0, math.inf) == "the gradient's norm is inf"
    assert guard.state_dict() == []


def test_a_loss_far_above_the_window_is_seen() -> None:
    guard = DivergenceGuard(GuardSettings(factor=10, window=2))
    assert guard.problem(500.0, 1) is None
    assert guard.problem(3.0, 1) is None
    assert guard.problem(-2.0, 1) is None
    later = DivergenceGuard(GuardSettings(factor=10, window=2))
    later.load_state_dict(guard.state_dict())
    for one in (guard, later):
        assert "the loss of 30.1 is above 30, 10 times" in (one.problem(30.1, 1) or "")
        assert one.problem(-30.1, 1) is not None
        assert one.problem(29.9, 1) is None


def test_losses_below_a_nat_may_jump_to_one() -> None:
    guard = DivergenceGuard(GuardSettings(factor=10, window=1))
    assert guard.problem(0.0, 1) is None
    assert guard.problem(9.9, 1) is None
