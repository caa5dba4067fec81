"""ρ: its range, its order, its calibration."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.gates.reliability import LogisticReliability, Reliability, calibrate, outcome_free

nats = st.floats(0, 12)
share = st.floats(0, 1)
weight = st.floats(0.01, 5)


def rho(reliability: Reliability | LogisticReliability, entropy: float, tv: float) -> float:
    double = torch.float64
    return reliability(torch.tensor(entropy, dtype=double), torch.tensor(tv, dtype=double)).item()


@given(nats, nats, share, share, weight, weight)
def test_rho_falls_in_both_and_stays_a_share(
    entropy: float, more: float, tv: float, tv_more: float, a: float, b: float
) -> None:
    reliability = Reliability(a, b)
    value = rho(reliability, entropy, tv)
    assert 0 <= value <= 1
    assert rho(reliability, entropy + more, tv) <= value
    assert rho(reliability, entropy, min(1.0, tv + tv_more)) <= value


@given(nats, share)
def test_rho_is_one_only_for_a_certain_teacher_that_the_student_matches(
    entropy: float, tv: float
) -> None:
    value = rho(Reliability(0.5, 2.0), entropy, tv)
    doubt = 0.5 * entropy + 2.0 * tv
    assert value == 1 if doubt == 0 else value <= 1
    assert value < 1 or doubt < 2e-16, "below, exp(-x) rounds to 1"


def test_calibration_finds_the_weights_that_made_the_reference() -> None:
    random = np.random.default_rng(0)
    entropy, tv = random.uniform(0, 4, 1024), random.uniform(0, 1, 1024)
    reference = np.exp(-0.35 * entropy - 1.4 * tv)
    found = calibrate(entropy, tv, reference)
    assert (found.entropy_weight, found.tv_weight) == pytest.approx((0.35, 1.4), abs=1e-4)
    noisy = calibrate(entropy, tv, np.clip(reference + random.normal(0, 0.05, 1024), 0, 1))
    assert (noisy.entropy_weight, noisy.tv_weight) == pytest.approx((0.35, 1.4), abs=0.1)


def test_a_reference_that_rises_with_entropy_gets_no_negative_weight() -> None:
    entropy, tv = np.linspace(0, 2, 50), np.full(50, 0.1)
    assert calibrate(entropy, tv, entropy / 2).entropy_weight >= 0


@pytest.mark.parametrize("broken", [np.array([]), np.array([0.1, np.nan])])
def test_calibration_refuses_what_is_no_number(broken: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite numbers of at least one state"):
        calibrate(broken, broken, broken)


def test_without_outcomes_both_parts_are_scaled_by_their_maxima() -> None:
    reliability = outcome_free(np.array([0.5, 4.0]), np.array([0.8, 0.2]))
    assert rho(reliability, 4.0, 0.0) == pytest.approx(np.exp(-1))
    assert rho(reliability, 0.0, 0.8) == pytest.approx(np.exp(-1))


def test_the_logistic_form_orders_states_alike_only_at_the_same_ratio() -> None:
    states = [(2.0, 0.0), (0.0, 0.9), (1.0, 0.5), (0.3, 0.3)]

    def order(reliability: Reliability | LogisticReliability) -> list[tuple[float, float]]:
        return sorted(states, key=lambda state: rho(reliability, *state))

    assert order(Reliability(1, 2)) == order(LogisticReliability(3, 6, 4.0))
    assert order(Reliability(1, 2)) != order(LogisticReliability(1, 6, 4.0))
