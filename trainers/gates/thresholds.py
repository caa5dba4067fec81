"""Thresholds that follow the states seen lately."""

import hashlib
import math
from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class QuantileState(TypedDict):
    """What a checkpoint keeps of a `StreamingQuantile`."""

    ring: Floats
    seen: int


class StreamingQuantile:
    """The exact quantile of the last `window` states, one step late.

    A step's states are given all at once, by trajectory, so that the result depends neither on the
    order of micro-batches nor on which rank had them. A long trajectory is represented by
    `per_trajectory` of its states, drawn evenly by a hash of its name. Source: CHOP §4.1.
    """

    def __init__(
        self, quantile: float, *, window: int = 8192, per_trajectory: int = 256, warm_up: int = 1024
    ) -> None:
        if not 0 <= quantile <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, not at {quantile}")
        if not 0 < warm_up <= window:
            raise ValueError(f"a warm-up of {warm_up} states does not fit a window of {window}")
        self.quantile = quantile
        self.per_trajectory = per_trajectory
        self.warm_up = warm_up
        self._ring = np.zeros(window)
        self._seen = 0

    @property
    def value(self) -> float | None:
        """The smallest value with a share of `quantile` or more at or below it; none in warm-up."""
        if self._seen < self.warm_up:
            return None
        values = self._ring[: min(self._seen, len(self._ring))]
        rank = max(0, math.ceil(self.quantile * len(values)) - 1)
        return float(np.partition(values, rank)[rank])

    def observe(self, step: Mapping[str, Floats]) -> None:
        """Take in one training step's states, by trajectory id. Raises ValueError for NaN."""
        for trajectory in sorted(step):
            values = np.asarray(step[trajectory], np.float64)
            most = min(self.per_trajectory, len(self._ring))
            values = values[representatives(trajectory, len(values), most)]
            if np.isnan(values).any():
                raise ValueError(f"trajectory {trajectory} has states whose value is not a number")
            places = (self._seen + np.arange(len(values))) % len(self._ring)
            self._ring[places] = values
            self._seen += len(values)

    def state_dict(self) -> QuantileState:
        """What a checkpoint keeps."""
        return {"ring": self._ring.copy(), "seen": self._seen}

    def load_state_dict(self, state: QuantileState) -> None:
        """Continue from a checkpoint. Raises ValueError when its window is another."""
        ring = np.asarray(state["ring"], np.float64)
        if ring.shape != self._ring.shape:
            raise ValueError(
                f"the checkpoint's window has {ring.size} states, the configuration's "
                f"{self._ring.size}: keep the window, or start the thresholds afresh"
            )
        self._ring, self._seen = ring.copy(), state["seen"]


def representatives(name: str, count: int, most: int) -> NDArray[np.int64]:
    """Which of a trajectory's `count` states stand for it: at most `most`, by a hash of its name.

    In increasing order.
    """
    if count <= most:
        return np.arange(count)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
