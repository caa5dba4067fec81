"""The records that cross stages: the leaf of the import tree."""

from harness.records.attempt import (
    Attempt,
    Budget,
    Event,
    ModelCalls,
    Outcome,
    StopReason,
    Usage,
    decode_patch,
    encode_patch,
)
from harness.records.base import Record
from harness.records.grade import Finding, Grade, TestCounts, Timing, Verdict
from harness.records.instance import Instance, InstanceId
from harness.records.question import Question
from harness.records.run_folder import RunFolder, find_runs

__all__ = [
    "Attempt",
    "Budget",
    "Event",
    "Finding",
    "Grade",
    "Instance",
    "InstanceId",
    "ModelCalls",
    "Outcome",
    "Question",
    "Record",
    "RunFolder",
    "StopReason",
    "TestCounts",
    "Timing",
    "Usage",
    "Verdict",
    "decode_patch",
    "encode_patch",
    "find_runs",
]
