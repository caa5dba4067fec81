"""Resets: which states, and what their outcomes say."""

import numpy as np
import pytest

from trainers.diagnostics.resets import (
    ARMS,
    Group,
    Outcome,
    Reset,
    State,
    choose_resets,
    reset_effects,
)


def _states(instances: int, turns: int) -> list[State]:
    rng = np.random.default_rng(0)
    return [
        State(f"run/i{number}/0#0", f"i{number}", turn, 10 * turn, float(rng.uniform()))
        for number in range(instances)
        for turn in range(turns)
    ]


def test_states_come_from_both_ends_and_many_instances() -> None:
    states = _states(8, 10)
    chosen = choose_resets(states, 6)
    ranked = sorted(one.rho for one in states)
    low = [one.state for one in chosen if one.group == "low"]
    high = [one.state for one in chosen if one.group == "high"]
    assert (len(low), len(high)) == (6, 6)
    assert max(one.rho for one in low) <= ranked[23]
    assert min(one.rho for one in high) >= ranked[-24]
    assert len({one.instance for one in low}) == 6
    for count in (7, 8, 12):  # every instance once before any comes twice
        more = [one.state.instance for one in choose_resets(states, count) if one.group == "low"]
        there = len({one.instance for one in states if one.rho <= ranked[23]})
        assert len(set(more)) == min(count, there)
    assert choose_resets(states[::-1], 6) == chosen
    assert choose_resets(states, 6, seed=1) != chosen


def test_few_states_are_never_in_both_groups() -> None:
    chosen = choose_resets(_states(1, 3), 5, share=0.9)
    assert [one.group for one in chosen] == ["low", "high"]
    assert chosen[0].state != chosen[1].state
    assert choose_resets([], 5) == []


def _resets(count: int) -> list[Reset]:
    groups: tuple[Group, Group] = ("high", "low")
    return [
        Reset(
            State(f"r/i{number}/0#0", f"i{number}", 1, 5, 0.9 - 0.8 * (number % 2)),
            groups[number % 2],
        )
        for number in range(count)
    ]


def _outcomes(resets: list[Reset], noise: bool) -> list[Outcome]:
    """The teacher's action gains 0.5 where ρ is low, nothing where it is high."""
    found = []
    for number, reset in enumerate(resets):
        luck = (number // 2 % 2) * 0.5 * noise
        gain = 0.5 if reset.group == "low" else 0.0
        for arm, outcome in zip(ARMS, (luck, luck + gain), strict=True):
            found += [
                Outcome(reset.state.trajectory, 1, arm, outcome + shift) for shift in (-0.1, 0.1)
            ]
    return found


def test_effects_are_paired_by_state() -> None:
    resets = _resets(24)
    found = reset_effects(resets, _outcomes(resets, noise=True))
    assert found["low"]["difference"]["value"] == pytest.approx(0.5)
    assert found["high"]["difference"]["value"] == pytest.approx(0)
    assert found["contrast"]["value"] == pytest.approx(0.5)
    assert found["low"]["student"]["value"] == pytest.approx(0.25)
    assert found["low"]["teacher"]["value"] == pytest.approx(0.75)
    # luck is the same in both arms, so that it leaves the difference alone
    assert found["low"]["difference"]["low"] == pytest.approx(0.5)
    assert found["low"]["student"]["low"] < 0.2  # type: ignore[operator]
    assert found["low"]["difference"]["n"] == 12


def test_states_without_both_arms_count_in_neither() -> None:
    resets = _resets(8)
    outcomes = _outcomes(resets, noise=False)
    half = [one for one in outcomes if one.arm == "student" or "i1/" not in one.trajectory]
    found = reset_effects(resets, half)
    assert found["low"]["student"]["n"] == found["low"]["teacher"]["n"] == 3
    empty = reset_effects(resets, [])
    assert (empty["low"]["difference"]["value"], empty["contrast"]["value"]) == (None, None)
    with pytest.raises(ValueError, match="no state of the resets"):
        reset_effects(resets, [Outcome("elsewhere", 1, "student", 1.0)])
