"""pass@k, intervals, paired comparisons and power planning: pure functions of plain data."""

from harness.scoring.records import Comparison, Group, Interval, Rate, Resampling, Scores
from harness.scoring.scored import Scored, scored
from harness.scoring.scores import score

__all__ = [
    "Comparison",
    "Group",
    "Interval",
    "Rate",
    "Resampling",
    "Scored",
    "Scores",
    "score",
    "scored",
]
