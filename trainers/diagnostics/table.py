"""All measured states as columns, and as `states.parquet`.

Shapes: S states of all trajectories.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainers.data.trajectories import Trajectory
from trainers.diagnostics.cells import CELLS, cell_of, depths
from trainers.diagnostics.intervals import Floats
from trainers.diagnostics.measure import Rollouts
from trainers.diagnostics.parts import Part


@dataclass(frozen=True)
class States:
    """Columns `(S,)`. numbers: of a quantity, NaN where a state has none.

    instance: the cluster. trajectory: which of the trajectories. depth: decile from 0.
    """

    numbers: dict[str, Floats]
    instance: NDArray[np.str_]
    trajectory: NDArray[np.intp]
    depth: NDArray[np.intp]
    position: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.position)


def join_states(
    trajectories: Sequence[Trajectory], parts: Sequence[Part], given: Mapping[str, Rollouts]
) -> States:
    """The states of all trajectories behind one another.

    Besides what was measured: `alpha`, `alpha_error`, `reference` (ρ*: the mean outcome of the
    rollouts from the state), `outcome` (R of the trajectory).
    """
    numbers: dict[str, list[Floats]] = {}
    for one, part in zip(trajectories, parts, strict=True):
        count = one.sampled_tokens
        columns = {
            name.removeprefix("state/"): values.astype(np.float64)
            for name, values in part.items()
            if name.startswith("state/")
        }
        for name in ("alpha", "alpha_error", "reference"):
            columns[name] = np.full(count, np.nan)
        columns["alpha"][part["alpha/state"]] = part["alpha/value"]
        columns["alpha_error"][part["alpha/state"]] = part["alpha/error"]
        places = {int(place): number for number, place in enumerate(one.positions)}
        for place, rollouts in given.get(one.name, {}).items():
            columns["reference"][places[place]] = np.mean([outcome for _, outcome in rollouts])
        columns["outcome"] = np.full(count, np.nan if one.outcome is None else one.outcome)
        for name, values in columns.items():
            numbers.setdefault(name, []).append(values)
    counts = [one.sampled_tokens for one in trajectories]
    return States(
        {name: np.concatenate(values) for name, values in numbers.items()},
        np.repeat([one.group for one in trajectories], counts),
        np.repeat(np.arange(len(counts)), counts),
        np.concatenate([depths(count) for count in counts]),
        np.concatenate([one.positions for one in trajectories]),
    )


def write_states(
    path: Path, trajectories: Sequence[Trajectory], states: States, gates: NDArray[np.bool_]
) -> None:
    """Write a row for each state, a group of rows for each trajectory.

    gates: `(2, S)`, trusted and PI active. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.draft")
    writer: pq.ParquetWriter | None = None
    try:
        for table in _tables(trajectories, states, gates):
            writer = writer or pq.ParquetWriter(draft, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    draft.replace(path)


def _tables(
    trajectories: Sequence[Trajectory], states: States, gates: NDArray[np.bool_]
) -> Iterator[pa.Table]:
    cells = np.array(CELLS)[cell_of(*gates)]
    ends = np.cumsum([one.sampled_tokens for one in trajectories])
    for one, end in zip(trajectories, ends.tolist(), strict=True):
        rows = slice(end - one.sampled_tokens, end)
        turns = np.concatenate([np.full(each.end - each.start, each.number) for each in one.turns])
        columns = {
            "trajectory": pa.array([one.name] * one.sampled_tokens).dictionary_encode(),
            "instance_id": pa.array([one.group] * one.sampled_tokens).dictionary_encode(),
            "turn": pa.array(turns, pa.int32()),
            "position": pa.array(states.position[rows]),
            "token": pa.array(one.ids[one.positions]),
            "depth": pa.array(states.depth[rows], pa.int8()),
            "trusted": pa.array(gates[0, rows]),
            "pi_active": pa.array(gates[1, rows]),
            "cell": pa.array(cells[rows]).dictionary_encode(),
        }
        columns |= {
            name: pa.array(values[rows], pa.float32(), from_pandas=True)
            for name, values in states.numbers.items()
        }
        yield pa.table(columns)
