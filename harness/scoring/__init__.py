"""pass@k, intervals, paired comparisons and power planning: pure functions of plain data."""

from harness.scoring.compare import NotPairedError, compare_family
from harness.scoring.plan import Plan, PlanError
from harness.scoring.records import Comparison, Group, Interval, Rate, Resampling, Scores
from harness.scoring.scored import Scored, scored
from harness.scoring.scores import score

__all__ = [
    "Comparison",
    "Group",
    "Interval",
    "NotPairedError",
    "Plan",
    "PlanError",
    "Rate",
    "Resampling",
    "Scored",
    "Scores",
    "compare_family",
    "score",
    "scored",
]
