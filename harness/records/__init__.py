"""The records that cross stages: the leaf of the import tree."""

from harness.records.attempt import Attempt, Budget, Event, Outcome, StopReason, Usage
from harness.records.base import Record
from harness.records.grade import Finding, Grade, TestCounts, Timing, Verdict
from harness.records.instance import Instance, InstanceId

__all__ = [
    "Attempt",
    "Budget",
    "Event",
    "Finding",
    "Grade",
    "Instance",
    "InstanceId",
    "Outcome",
    "Record",
    "StopReason",
    "TestCounts",
    "Timing",
    "Usage",
    "Verdict",
]
