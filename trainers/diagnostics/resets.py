"""Resets: does one action of the teacher, taken at a state of the student's, change how it ends?

From each chosen state the student continues in one arm; in the other the teacher takes the next
action and the student continues from there. Where a low ρ tells that the student's prefix is what
the teacher cannot repair token by token, the effect differs between states of low and high ρ.
Source: CHOP §3.2, App. O (states); the paper compares gradients, here outcomes are compared.

Shapes: S states.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

from trainers.diagnostics.intervals import Floats, Indices, Number, bootstrap, bootstrap_mean

Arm = Literal["student", "teacher"]
Group = Literal["low", "high"]
ARMS: tuple[Arm, ...] = ("student", "teacher")


@dataclass(frozen=True)
class State:
    """A place where a trajectory can be taken up again: before an action of the agent."""

    trajectory: str
    instance: str
    turn: int
    position: int
    rho: float


@dataclass(frozen=True)
class Reset:
    """A state to reset to, and the group that it is in."""

    state: State
    group: Group


@dataclass(frozen=True)
class Outcome:
    """How a continuation from a state ended: 0 to 1."""

    trajectory: str
    turn: int
    arm: Arm
    outcome: float


class Effect(TypedDict):
    """Means of the arms, and of their paired difference, over states with both arms."""

    student: Number
    teacher: Number
    difference: Number


class Effects(TypedDict):
    """`contrast`: the difference of low-ρ states less that of high-ρ states."""

    low: Effect
    high: Effect
    contrast: Number


def choose_resets(
    states: Sequence[State], count: int, *, share: float = 0.3, seed: int = 0
) -> list[Reset]:
    """At most `count` states from each end of ρ, of as many instances as there are.

    share: of the states that are an end; the two ends have no state in common.
    """
    size = min(int(np.ceil(share * len(states))), len(states) // 2)
    ordered = sorted(states, key=lambda one: (one.rho, one.trajectory, one.turn))
    low, high = ordered[:size], ordered[len(ordered) - size :]
    return [Reset(one, "low") for one in _spread(low, count, seed)] + [
        Reset(one, "high") for one in _spread(high, count, seed)
    ]


def _spread(states: Sequence[State], count: int, seed: int) -> list[State]:
    """States of all instances in turn, by a hash."""

    def key(state: State) -> bytes:
        return hashlib.sha256(f"{seed} {state.trajectory} {state.turn}".encode()).digest()

    by_instance: dict[str, list[State]] = {}
    for state in sorted(states, key=key):
        by_instance.setdefault(state.instance, []).append(state)
    rounds = [
        (place, key(state), state)
        for members in by_instance.values()
        for place, state in enumerate(members)
    ]
    return [state for *_, state in sorted(rounds, key=lambda one: one[:2])[:count]]


def reset_effects(resets: Sequence[Reset], outcomes: Sequence[Outcome]) -> Effects:
    """The effect of the teacher's action in each group; outcomes of a state's arm are averaged.

    Whole instances are resampled, both arms and groups together, so that the difference is paired.
    A state without outcomes of both arms counts in neither. Raises ValueError for an outcome of no
    reset.
    """
    known = {(one.state.trajectory, one.state.turn) for one in resets}
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for outcome in outcomes:
        place = (outcome.trajectory, outcome.turn)
        if place not in known:
            raise ValueError(f"an outcome of {place}, which is no state of the resets")
        found.setdefault(place, {}).setdefault(outcome.arm, []).append(outcome.outcome)
    means: dict[tuple[str, int], Mapping[str, float]] = {
        place: {arm: float(np.mean(values)) for arm, values in arms.items()}
        for place, arms in found.items()
        if len(arms) == len(ARMS)
    }
    used = [one for one in resets if (one.state.trajectory, one.state.turn) in means]
    arms = np.array(
        [[means[one.state.trajectory, one.state.turn][arm] for arm in ARMS] for one in used]
    ).reshape(-1, len(ARMS))
    instances = np.array([one.state.instance for one in used], dtype=str)
    low = np.array([one.group == "low" for one in used], dtype=bool)
    difference: Floats = arms[:, 1] - arms[:, 0]

    def contrast(chosen: Indices) -> float:
        inside, gains = low[chosen], difference[chosen]
        if inside.all() or not inside.any():
            return float("nan")
        return float(gains[inside].mean() - gains[~inside].mean())

    def effect(inside: np.typing.NDArray[np.bool_]) -> Effect:
        columns = (arms[inside, 0], arms[inside, 1], difference[inside])
        one, two, three = (bootstrap_mean(each, instances[inside]) for each in columns)
        return Effect(student=one, teacher=two, difference=three)

    return Effects(low=effect(low), high=effect(~low), contrast=bootstrap(contrast, instances))
