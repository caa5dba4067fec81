"""How hard a bug may be to fix, from what its tests showed: an estimate that no human has checked.

The score is the mean of five shares between 0 and 1:

hidden    1 when the error does not arise in the changed code itself, else 0
reach     functions of the package that the failing tests execute: none 0, a hundred and more 1
subtle    tests that execute the changed code and pass all the same
size      changed lines: one 0, ten and more 1
spread    changed functions: one 0, three and more 1
"""

import math
from typing import Literal

from harness.records import Record

Label = Literal["<15 min fix", "15 min - 1 hour", "1-4 hours"]
_BOUNDS: tuple[tuple[float, Label], ...] = ((0.45, "<15 min fix"), (0.7, "15 min - 1 hour"))


class Difficulty(Record):
    """The shares, their mean, and the benchmark's word for it."""

    hidden: float
    reach: float
    subtle: float
    size: float
    spread: float

    @property
    def score(self) -> float:
        """Between 0, easy, and 1."""
        shares = (self.hidden, self.reach, self.subtle, self.size, self.spread)
        return round(sum(shares) / len(shares), 3)

    @property
    def label(self) -> Label:
        """As SWE-bench Verified words it."""
        return next((label for bound, label in _BOUNDS if self.score < bound), "1-4 hours")


def estimate(
    *, arises_there: bool, reached: int, failing: int, covering: int, lines: int, functions: int
) -> Difficulty:
    """The difficulty of a bug.

    reached: functions of the package that failing tests execute. failing, covering: tests that
    execute the changed code. lines, functions: changed ones.
    """
    return Difficulty(
        hidden=0.0 if arises_there else 1.0,
        reach=round(min(1.0, math.log10(max(1, reached)) / 2), 3),
        subtle=round(1 - failing / max(failing, covering, 1), 3),
        size=round(min(1.0, (max(1, lines) - 1) / 9), 3),
        spread=min(1.0, (max(1, functions) - 1) / 2),
    )
