"""CHOP's ledger: what was decided about which state, in which step, and from what.

`<out>/ledger/step-000001.parquet` has a row for each chosen state of the step. A file is whole or
not there, and a step that is done again writes the same file again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainers.data.trajectories import Trajectory
from trainers.gates.thresholds import representatives
from trainers.methods.chop_gates import Thresholds
from trainers.methods.chop_settings import LedgerSettings

NUMBERS = ("rho", "kappa", "teacher_entropy", "tv", "kl", "segment_distance", "anchor_weight")
SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("trajectory", pa.string()),
        ("token", pa.int32()),
        ("trusted", pa.bool_()),
        ("pi_active", pa.bool_()),
        ("cell", pa.string()),
        *((name, pa.float32()) for name in NUMBERS),
        ("reliability_threshold", pa.float32()),
        ("pi_threshold", pa.float32()),
    ]
)
CELLS = {(True, False): "A", (True, True): "B", (False, False): "C", (False, True): "D"}


def step_file(folder: Path, step: int) -> Path:
    """The file of a step, counted from 1."""
    return folder / f"step-{step:06d}.parquet"


class Ledger:
    """Writes each step's decisions."""

    def __init__(self, settings: LedgerSettings) -> None:
        self._most = settings.states_per_trajectory
        self._folder: Path | None = None
        self._positions: dict[str, NDArray[np.int64]] = {}

    def prepare(self, trajectories: Sequence[Trajectory]) -> None:
        """Learn where sampled tokens stand."""
        self._positions = {one.name: one.positions for one in trajectories}

    def begin(self, folder: Path | None, step: int) -> None:
        """Continue after `step` steps: what was written of later ones comes again."""
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("step-*.parquet"):
                if path.name > step_file(folder, step).name:
                    path.unlink()

    def write(
        self,
        step: int,
        found: Mapping[str, Mapping[str, NDArray[np.float64]]],
        thresholds: Thresholds,
    ) -> None:
        """A step, counted from 0: results by trajectory, then by name."""
        if self._folder is None:
            return
        tables = [self._table(step + 1, name, found[name], thresholds) for name in sorted(found)]
        path = step_file(self._folder, step + 1)
        draft = path.with_suffix(".draft")
        pq.write_table(pa.concat_tables(tables), draft, compression="zstd")
        draft.replace(path)

    def _table(
        self,
        step: int,
        name: str,
        found: Mapping[str, NDArray[np.float64]],
        thresholds: Thresholds,
    ) -> pa.Table:
        positions = self._positions[name]
        count = len(positions)
        kept = np.ones(count, np.bool_)
        if self._most is not None:
            kept = found["anchor_weight"] > 0
            kept[representatives(name, count, self._most)] = True
        trusted, active = found["trusted"][kept] > 0, found["pi_active"][kept] > 0
        rows = int(kept.sum())
        columns: dict[str, object] = {
            "step": np.full(rows, step),
            "trajectory": pa.array([name] * rows, pa.string()),
            "token": positions[kept],
            "trusted": trusted,
            "pi_active": active,
            "cell": [CELLS[pair] for pair in zip(trusted.tolist(), active.tolist(), strict=True)],
            "reliability_threshold": pa.array([thresholds.reliability] * rows, pa.float32()),
            "pi_threshold": pa.array([thresholds.pi] * rows, pa.float32()),
        }
        columns |= {number: found[number][kept] for number in NUMBERS}
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in SCHEMA]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)
