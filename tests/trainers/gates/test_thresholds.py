"""The streaming quantile, and the gates that compare with it."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.gates.routes import pi_active, trusted
from trainers.gates.thresholds import Floats, StreamingQuantile


def filled(quantile: float, *steps: dict[str, Floats], window: int = 64) -> StreamingQuantile:
    stream = StreamingQuantile(quantile, window=window, per_trajectory=8, warm_up=4)
    for step in steps:
        stream.observe(step)
    return stream


@given(st.lists(st.floats(0, 1), min_size=4, max_size=40), st.floats(0, 1))
def test_the_value_is_the_smallest_with_that_share_below(
    values: list[float], quantile: float
) -> None:
    stream = filled(quantile, {str(i): np.array([v]) for i, v in enumerate(values)})
    assert stream.value in values
    at_or_below = [v <= stream.value for v in values]
    assert np.mean(at_or_below) >= quantile
    below = [v < stream.value for v in values]
    assert np.mean(below) < quantile or quantile == 0


def test_only_the_window_counts() -> None:
    old = {str(i): np.full(8, 100.0) for i in range(8)}
    new = {str(i): np.full(8, float(i)) for i in range(8)}
    assert filled(1.0, old, new).value == 7.0
    assert filled(1.0, old).value == 100.0


@given(st.permutations(range(6)), st.integers(1, 5))
def test_neither_order_nor_sharding_changes_the_value(order: list[int], cut: int) -> None:
    random = np.random.default_rng(1)
    states = {f"t{i}": random.uniform(size=20) for i in range(6)}
    shuffled = [f"t{i}" for i in order]
    gathered = {name: states[name] for name in [*shuffled[cut:], *shuffled[:cut]]}
    assert filled(0.3, gathered).state_dict()["ring"].tolist() == (
        filled(0.3, states).state_dict()["ring"].tolist()
    )


def test_a_long_trajectory_does_not_fill_the_window() -> None:
    stream = filled(0.5, {"long": np.ones(40_000), "a": np.zeros(8), "b": np.zeros(8)})
    assert stream.value == 0.0
    spread = filled(0.5, {"long": np.arange(40_000.0)})
    assert spread.value is not None
    assert 8_000 < spread.value < 32_000


def test_there_is_no_value_before_the_warm_up() -> None:
    stream = filled(0.5, {"a": np.zeros(3)})
    assert stream.value is None
    stream.observe({"b": np.zeros(1)})
    assert stream.value == 0.0


def test_a_checkpoint_continues_the_stream() -> None:
    steps = [
        {f"s{k}t{i}": np.random.default_rng(k).uniform(size=9) for i in range(3)} for k in (1, 2)
    ]
    whole = filled(0.7, *steps, window=32)
    half = filled(0.7, steps[0], window=32)
    resumed = StreamingQuantile(0.7, window=32, per_trajectory=8, warm_up=4)
    resumed.load_state_dict(half.state_dict())
    resumed.observe(steps[1])
    assert resumed.value == whole.value
    with pytest.raises(ValueError, match="window has 32 states, the configuration's 64"):
        filled(0.7).load_state_dict(half.state_dict())


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="trajectory t has states"):
        filled(0.5, {"t": np.array([0.1, np.nan])})


def test_a_stationary_stream_leaves_its_quantile_untrusted() -> None:
    random = np.random.default_rng(0)
    stream = StreamingQuantile(0.30, window=8192, warm_up=1024)
    untrusted = []
    for step in range(200):
        rho = random.beta(2, 5, size=128)
        verdict = trusted(torch.from_numpy(rho), stream.value)
        if stream.value is not None:
            untrusted.append((~verdict).float().mean().item())
        stream.observe({f"{step}": rho})
    assert np.mean(untrusted) == pytest.approx(0.30, abs=0.01)


def test_with_a_floor_a_reliable_teacher_is_trusted_everywhere() -> None:
    rho = torch.linspace(0.9, 1.0, 100)
    assert not trusted(rho, 0.95).all()
    assert trusted(rho, 0.95, floor=0.32).all()
    assert not trusted(torch.tensor([0.1]), 0.95, floor=0.32).any()


def test_ties_at_the_threshold_are_not_trusted_and_not_active() -> None:
    assert trusted(torch.tensor([0.5, 0.51]), 0.5).tolist() == [False, True]
    assert pi_active(torch.tensor([0.5, 0.51]), 0.5, 0.0).tolist() == [False, True]


def test_a_stream_of_zeros_activates_no_pi() -> None:
    kappa = np.concatenate([np.zeros(800), np.linspace(0.01, 1, 200)])
    stream = StreamingQuantile(0.70, window=1000, per_trajectory=1000, warm_up=10)
    stream.observe({"t": kappa})
    assert stream.value == 0.0
    active = pi_active(torch.from_numpy(kappa), stream.value, noise_floor=0.0)
    assert active.sum().item() == 200
    noisy = pi_active(torch.from_numpy(kappa), stream.value, noise_floor=0.5)
    assert 0 < noisy.sum().item() < 110


def test_before_the_warm_up_ends_all_is_trusted_and_no_pi_is_active() -> None:
    values = torch.tensor([0.0, 1.0])
    assert trusted(values, None).all()
    assert not pi_active(values, None, 0.0).any()


def test_the_state_holds_what_json_and_numpy_hold() -> None:
    state = filled(0.5, {"a": np.zeros(8)}).state_dict()
    assert json.loads(json.dumps({**state, "ring": state["ring"].tolist()}))["seen"] == 8
