"""Files that a diagnosis shares with rollouts: what to run, and how it ended."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.data.errors import DataError
from trainers.data.trajectories import Trajectory
from trainers.diagnostics.measure import Rollouts
from trainers.diagnostics.resets import ARMS, Outcome, Reset

_NAME = re.compile(r"(?P<run>.+)/(?P<instance>[^/]+)/(?P<seed>\d+)#\d+")


def read_returns(path: Path, trajectories: Sequence[Trajectory]) -> dict[str, Rollouts]:
    """Outcomes of the teacher's rollouts by trajectory: Parquet with a row for each rollout.

    trajectory; position: of the sampled token that the rollout begins in place of; token: the id
    that it begins with; outcome: 0 to 1. Raises DataError, naming the file, for places that are no
    states of the trajectories.
    """
    known = {one.name: set(one.positions.tolist()) for one in trajectories}
    found: dict[str, dict[int, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(path, {"trajectory": str, "position": int, "token": int, "outcome": float}):
        name, position = row["trajectory"], row["position"]
        if name in known and position not in known[name]:
            raise DataError(f"{path}: token {position} of {name} was not sampled by the student")
        if name in known:
            found[name][position].append((row["token"], row["outcome"]))
    if not found:
        raise DataError(f"{path}: no rollout of the trajectories that are diagnosed")
    return {name: dict(places) for name, places in found.items()}


def read_outcomes(path: Path) -> list[Outcome]:
    """Outcomes of resets: Parquet with a row for each continuation.

    trajectory, turn: of the reset; arm: student or teacher; outcome: 0 to 1. Raises DataError.
    """
    rows = _rows(path, {"trajectory": str, "turn": int, "arm": str, "outcome": float})
    for row in rows:
        if row["arm"] not in ARMS:
            raise DataError(f"{path}: arm {row['arm']!r}, expected one of {', '.join(ARMS)}")
    return [Outcome(**row) for row in rows]


def write_resets(path: Path, resets: Sequence[Reset]) -> None:
    """The continuations to run: a line for each state and arm, with the attempt that it is of."""
    _write_lines(
        path,
        (
            _attempt(one.state.trajectory)
            | {
                "trajectory": one.state.trajectory,
                "turn": one.state.turn,
                "position": one.state.position,
                "arm": arm,
                "group": one.group,
                "rho": one.state.rho,
            }
            for one in resets
            for arm in ARMS
        ),
    )


def write_reference_states(path: Path, states: Iterable[tuple[Trajectory, Sequence[int]]]) -> None:
    """The states that the teacher's rollouts are to begin in: a line for each."""
    _write_lines(
        path,
        (
            _attempt(one.name)
            | {"trajectory": one.name, "turn": _turn(one, position), "position": position}
            for one, positions in states
            for position in positions
        ),
    )


def _turn(one: Trajectory, position: int) -> int:
    return next(turn.number for turn in one.turns if turn.start <= position < turn.end)


def _attempt(name: str) -> dict[str, Any]:
    match = _NAME.fullmatch(name)
    if match is None:
        return {}
    return {"run": match["run"], "instance_id": match["instance"], "seed": int(match["seed"])}


def _rows(path: Path, columns: dict[str, type]) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(path, columns=list(columns))
        rows: list[dict[str, Any]] = table.select(list(columns)).to_pylist()
        return [{name: kind(row[name]) for name, kind in columns.items()} for row in rows]
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a readable Parquet file of {', '.join(columns)} ({error})"
        ) from None


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    draft.replace(path)
