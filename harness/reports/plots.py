"""Geometry of the interval plots: values to per cent of a plot's width."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MARGIN = 3.0  # per cent on each side, so that marks at the ends stay whole
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)


@dataclass(frozen=True)
class Axis:
    """A linear axis over proportions, with ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Where a value lies, in per cent of the plot's width; values outside stick to the ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(MARGIN + (100 - 2 * MARGIN) * min(1.0, max(0.0, share)), 3)


def rate_axis(highs: Iterable[float]) -> Axis:
    """From 0 to the first tick at or above every value, at most 1."""
    top = max(highs, default=1.0)
    step = next((step for step in _STEPS if step * 5 >= top), 0.25)
    count = min(max(1, math.ceil(round(top / step, 9))), round(1 / step))
    return Axis(0.0, step * count, tuple(step * i for i in range(count + 1)))


def difference_axis(bounds: Iterable[float]) -> Axis:
    """Symmetric around 0, wide enough for every value, at most 1 on each side."""
    half = rate_axis(abs(bound) for bound in bounds)
    step = half.ticks[1]
    count = len(half.ticks) - 1
    every = 2 if count > 2 and count % 2 == 0 else count if count > 2 else 1
    return Axis(-half.high, half.high, tuple(step * i for i in range(-count, count + 1, every)))


def shares(counts: Sequence[int]) -> list[tuple[float, float]]:
    """Start and width of each part of a stacked bar, in per cent."""
    total = sum(counts) or 1
    starts = [sum(counts[:index]) for index in range(len(counts))]
    return [(100 * a / total, 100 * n / total) for a, n in zip(starts, counts, strict=True)]
