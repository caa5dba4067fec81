"""What a training's ledger says about its routes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainers.data.errors import DataError
from trainers.data.trajectories import Trajectory
from trainers.diagnostics.cells import CELLS, depths
from trainers.diagnostics.intervals import bootstrap_mean
from trainers.diagnostics.summary import figure
from trainers.gates.thresholds import representatives

_COLUMNS = ["step", "trajectory", "token", "cell", "rho", "kappa"]
_SPANS = 10


def routing_by_step(
    folder: Path, trajectories: Sequence[Trajectory], most: int | None
) -> list[dict[str, Any]]:
    """Shares of the cells, and means of ρ and κ, in at most ten spans of steps.

    most: states of a trajectory that the ledger drew evenly; anchors, which it holds besides, are
    left out, because all of them are untrusted. Raises DataError for a ledger that cannot be read.
    """
    even = {one.name: _evenly(one, most) for one in trajectories}
    groups = {one.name: one.group for one in trajectories}
    rows: list[tuple[int, str, int, str, float, float]] = []
    for path in sorted(folder.glob("step-*.parquet")):
        try:
            table = pq.read_table(path, columns=_COLUMNS)
            columns = [table[name].to_pylist() for name in _COLUMNS]
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DataError(f"{path}: not a ledger of decisions ({error})") from None
        rows += [one for one in zip(*columns, strict=True) if one[2] in even.get(one[1], ())]
    if not rows:
        return []
    steps = np.array([one[0] for one in rows])
    names = np.array([groups[one[1]] for one in rows])
    cells = np.array([one[3] for one in rows])
    numbers = np.array([one[4:] for one in rows], np.float64)
    spans = np.array_split(np.unique(steps), min(_SPANS, len(np.unique(steps))))
    found = []
    for span in spans:
        inside = np.isin(steps, span)
        found.append(
            {"from step": int(span[0]), "to step": int(span[-1]), "states": int(inside.sum())}
            | {
                name: figure(
                    bootstrap_mean((cells[inside] == name).astype(np.float64), names[inside]), None
                )
                for name in CELLS
            }
            | {
                name: figure(bootstrap_mean(numbers[inside, place], names[inside]))
                for place, name in enumerate(("rho", "kappa"))
            }
        )
    return found


def cells_of_ledger(
    folder: Path, trajectories: Sequence[Trajectory], most: int | None
) -> list[dict[str, Any]]:
    """Counts of the cells by depth decile, over all steps, of the evenly drawn states."""
    depth: dict[tuple[str, int], int] = {}
    for one in trajectories:
        even = _evenly(one, most)
        places = zip(one.positions.tolist(), depths(one.sampled_tokens).tolist(), strict=True)
        depth |= {(one.name, place): number for place, number in places if place in even}
    counts = np.zeros((10, len(CELLS)), np.int64)
    for path in sorted(folder.glob("step-*.parquet")):
        table = pq.read_table(path, columns=["trajectory", "token", "cell"])
        for row in table.to_pylist():
            number = depth.get((row["trajectory"], row["token"]))
            if number is not None:
                counts[number, CELLS.index(row["cell"])] += 1
    return [
        {"depth decile": number + 1, "decisions": int(row.sum())}
        | {name: int(count) for name, count in zip(CELLS, row.tolist(), strict=True)}
        for number, row in enumerate(counts)
        if row.sum()
    ]


def _evenly(one: Trajectory, most: int | None) -> set[int]:
    places = one.positions
    if most is not None:
        places = places[representatives(one.name, len(places), most)]
    return set(places.tolist())
