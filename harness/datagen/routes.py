"""Routes as controls of CHOP's gates: another training's decisions, misplaced, or an oracle's."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

_DECILES = 10
_COLUMNS = ["trajectory", "token", "trusted", "pi_active", "reliability_threshold", "pi_threshold"]


class RouteError(ValueError):
    """There is nothing to make a route of; the text says what is missing."""


class Decision(NamedTuple):
    """What is done at a state: which loss, and which teacher."""

    trusted: bool
    pi_active: bool


State = tuple[str, int]  # a trajectory's name and a token's number in it
Decisions = dict[State, Decision]


def read_ledger(folder: Path) -> Decisions:
    """The last decision on each state that was made with both gates open, in order of the states.

    Raises RouteError where there is none, and where a state was never decided on so.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.glob("step-*.parquet"))
    if not files:
        raise RouteError(f"{folder}: no ledger of a CHOP training (step-*.parquet)")
    seen: set[State] = set()
    found: Decisions = {}
    for file in files:
        try:
            table = pq.read_table(file, columns=_COLUMNS)
        except (OSError, pa.ArrowException) as error:
            raise RouteError(f"{file}: no part of a ledger ({error})") from None
        for name, token, trusted, active, *thresholds in zip(
            *(column.to_pylist() for column in table.columns), strict=True
        ):
            seen.add((name, token))
            if all(one is not None and math.isfinite(one) for one in thresholds):
                found[name, token] = Decision(trusted, active)
    if seen - found.keys():
        name, token = min(seen - found.keys())
        raise RouteError(
            f"{folder}: {len(seen - found.keys())} of {len(seen)} states were seen only before the "
            f"gates opened, as token {token} of {name}: train for another round"
        )
    return dict(sorted(found.items()))


def misplaced(decisions: Decisions, seed: int, *, by_depth: bool = False) -> Decisions:
    """The same decisions, each at another state by chance: every cell keeps its number of states.

    by_depth: only among states of the same tenth of their trajectories.
    """
    states = list(decisions)
    depths = _deciles(states) if by_depth else dict.fromkeys(states, 0)
    rng = np.random.default_rng(seed)
    found: Decisions = {}
    for depth in sorted(set(depths.values())):
        group = [one for one in states if depths[one] == depth]
        for state, number in zip(group, rng.permutation(len(group)), strict=True):
            found[state] = decisions[group[number]]
    return dict(sorted(found.items()))


def by_outcome(
    states: Iterable[State], plain: Mapping[str, float], with_pi: Mapping[str, float]
) -> Decisions:
    """What the teacher's own attempts say: trusted where it resolves the instance without PI.

    PI is active where it resolves more with it. plain, with_pi: share of resolved attempts by
    instance. It reads grades, so it is a bound and no method. Raises RouteError.
    """
    found: Decisions = {}
    for name, token in states:
        instance = name.rsplit("/", 2)[-2]
        if instance not in plain or instance not in with_pi:
            raise RouteError(f"the teacher has no graded attempt at {instance}")
        found[name, token] = Decision(plain[instance] > 0, with_pi[instance] > plain[instance])
    return found


def write_route(decisions: Decisions, out: Path) -> None:
    """Write what `method.route: {kind: file}` reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "trajectory": [name for name, _ in decisions],
        "token": [token for _, token in decisions],
        "trusted": [one.trusted for one in decisions.values()],
        "pi_active": [one.pi_active for one in decisions.values()],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.draft")
    pq.write_table(pa.table(columns), draft, compression="zstd")
    draft.replace(out)


def _deciles(states: Iterable[State]) -> dict[State, int]:
    of: dict[str, list[State]] = {}
    for state in sorted(states):
        of.setdefault(state[0], []).append(state)
    return {
        state: place * _DECILES // len(group)
        for group in of.values()
        for place, state in enumerate(group)
    }
