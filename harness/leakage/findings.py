"""What an audit finds."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from harness.records import Record


class Severity(StrEnum):
    """How bad a finding is. A `LEAK` fails the audit."""

    LEAK = "leak"
    WARNING = "warning"
    NOTE = "note"


class Status(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"  # measured, and the interval or threshold decides neither way
    NOT_RUN = "not_run"  # its inputs are not there; `reason` says which
    ERROR = "error"  # the check broke: nothing is known


class Finding(Record):
    """One thing found, with what proves it and how to see it again."""

    severity: Severity
    title: str = Field(description="One line: what leaked from where to where.")
    where: str = Field(description="File and position, as `attempts/x/0/events.jsonl:12`.")
    evidence: str = Field(description="The text or figures found, at most some hundred characters.")
    reproduce: str = Field(description="A command, or steps, that show it again.")


class Check(Record):
    """One check of the audit."""

    name: str = Field(description="As `canaries`, `image_lint`.")
    question: str = Field(description="What it asks, in one sentence.")
    status: Status
    reason: str = Field("", description="Why it ended so, in one sentence; with counts.")
    findings: tuple[Finding, ...] = ()
    figures: dict[str, Any] = Field(
        default_factory=dict, description="Numbers with their counts and intervals, JSON."
    )


class Audit(Record):
    """`audit.json`: all checks of one audit."""

    schema_version: Literal[1] = 1
    inputs: dict[str, str] = Field(description="Path and digest of what was audited, by role.")
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """No check failed or broke. A check that was not run is neither."""
        return not any(check.status in (Status.FAILED, Status.ERROR) for check in self.checks)
