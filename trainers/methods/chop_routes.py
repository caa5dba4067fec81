"""Routes that do not come from the gates: controls."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from trainers.data.errors import DataError
from trainers.data.packing import Row
from trainers.data.trajectories import Trajectory
from trainers.losses.chop import Route
from trainers.methods.chop_settings import (
    AdaptiveRoute,
    AnyRoute,
    DepthRoute,
    FileRoute,
    RandomRoute,
)

_COLUMNS = ("trajectory", "token", "trusted", "pi_active")
_Decisions = dict[str, tuple[np.typing.NDArray[np.bool_], np.typing.NDArray[np.bool_]]]


class Router:
    """Decisions for the sampled tokens of a row, for every route but the adaptive one."""

    def __init__(self, settings: AnyRoute) -> None:
        self._settings = settings
        self._given: _Decisions = {}

    def prepare(self, trajectories: list[Trajectory]) -> None:
        """Read the decisions. Raises DataError, naming the file, where some are missing."""
        if isinstance(self._settings, FileRoute):
            self._given = _read(self._settings.path, trajectories)

    def route(self, row: Row, step: int, seed: int) -> Route | None:
        """`(N,)` decisions; none where the gates make them."""
        if isinstance(self._settings, AdaptiveRoute):
            return None
        found = [self._of(one, step, seed) for one in row.trajectories]
        device = row.ids.device
        trusted, active = (np.concatenate(each) for each in zip(*found, strict=True))
        return Route(torch.from_numpy(trusted).to(device), torch.from_numpy(active).to(device))

    def _of(
        self, one: Trajectory, step: int, seed: int
    ) -> tuple[np.typing.NDArray[np.bool_], np.typing.NDArray[np.bool_]]:
        if not isinstance(self._settings, RandomRoute | DepthRoute):
            return self._given[one.name]
        count = one.sampled_tokens
        untrusted, pi = np.asarray(self._settings.untrusted), np.asarray(self._settings.pi)
        if isinstance(self._settings, DepthRoute):
            decile = np.arange(count) * 10 // max(count, 1)
            untrusted, pi = untrusted[decile], pi[decile]
        digest = hashlib.sha256(f"{seed} {step} {one.name} route".encode()).digest()
        draws = np.random.default_rng(int.from_bytes(digest[:8])).random((2, count))
        return draws[0] >= untrusted, draws[1] < pi


def _read(path: Path, trajectories: list[Trajectory]) -> _Decisions:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    found: dict[str, dict[int, tuple[bool, bool]]] = {one.name: {} for one in trajectories}
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                table = opened.read(columns=list(_COLUMNS))
            rows = zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)
            for name, token, trusted, active in rows:
                if name in found:
                    found[name][int(token)] = (bool(trusted), bool(active))
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{file}: no file of routes ({error}); it needs {', '.join(_COLUMNS)}"
            ) from None
    decisions: _Decisions = {}
    for one in trajectories:
        known = found[one.name]
        missing = [int(token) for token in one.positions if int(token) not in known]
        if missing:
            raise DataError(
                f"{path}: no route for token {missing[0]} of {one.name}; write the whole ledger "
                "(ledger.states_per_trajectory: null) of a training on the same trajectories"
            )
        pairs = np.array([known[int(token)] for token in one.positions], np.bool_)
        decisions[one.name] = (pairs[:, 0], pairs[:, 1])
    return decisions
