"""A run as a report sees it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.records import Attempt, Grade, Instance, InstanceId, RunFolder, StopReason, Verdict
from harness.scoring import Scores


class Status(StrEnum):
    """What is known of one attempt: its verdict, or why there is none."""

    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    PATCH_FAILED = "patch_failed"
    EMPTY_PATCH = "empty_patch"
    TIMED_OUT = "timed_out"
    INFRA_FAILURE = "infra_failure"
    UNGRADED = "ungraded"
    UNREADABLE = "unreadable"
    NOT_RUN = "not_run"


@dataclass(frozen=True)
class Entry:
    """One attempt as found on disk. `grade.tests` is left out to bound memory."""

    instance_id: InstanceId
    seed: int
    attempt: Attempt | None
    grade: Grade | None
    problems: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """The verdict, or the reason that there is none."""
        if self.infrastructure:
            return Status.INFRA_FAILURE
        if self.grade:
            return Status(self.grade.verdict.value)
        if self.problems:
            return Status.UNREADABLE
        if not self.attempt:
            return Status.NOT_RUN
        return Status.UNGRADED

    @property
    def infrastructure(self) -> bool:
        """Whether the environment broke in the rollout or in grading."""
        return bool(
            (self.attempt and self.attempt.stop_reason is StopReason.INFRASTRUCTURE)
            or (self.grade and self.grade.verdict is Verdict.INFRA_FAILURE)
        )


@dataclass(frozen=True)
class Run:
    """Everything of one run that a report shows, except events, patches and logs.

    `refused` is (what, why) of everything that was asked for and could not be run.
    """

    folder: RunFolder
    name: str
    config: dict[str, Any]
    lock: dict[str, Any]
    scores: Scores | None
    instances: dict[InstanceId, Instance]
    seeds: tuple[int, ...]
    entries: dict[tuple[InstanceId, int], Entry]
    problems: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    def label(self, path: Path) -> str:
        """How the report names a file of the run: the run's folder and the path in it."""
        return f"{self.folder.root.name}/{path.relative_to(self.folder.root)}"

    @property
    def expected(self) -> int:
        """Attempts that the finished run has: instances times seeds."""
        return len(self.instances) * len(self.seeds)

    @property
    def attempted(self) -> int:
        """How many of the expected attempts have an `attempt.json`."""
        return sum(self.is_expected(e) and e.attempt is not None for e in self.entries.values())

    @property
    def graded(self) -> int:
        """How many of the expected attempts have a grade."""
        return sum(self.is_expected(e) and e.grade is not None for e in self.entries.values())

    @property
    def resolved(self) -> int:
        """How many attempts are resolved, by their grades alone."""
        return sum(entry.status is Status.RESOLVED for entry in self.entries.values())

    @property
    def scored(self) -> int:
        """How many of the expected attempts have a verdict, infrastructure failures included."""
        return sum(
            self.is_expected(e) and e.attempt is not None and e.grade is not None
            for e in self.entries.values()
        )

    @property
    def complete(self) -> bool:
        """Whether every expected attempt was made and graded."""
        return 0 < self.expected == self.graded

    def is_expected(self, entry: Entry) -> bool:
        """Whether an attempt belongs to the run's instances and seeds."""
        return entry.instance_id in self.instances and entry.seed in self.seeds
