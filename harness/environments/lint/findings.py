"""What a look at an image found."""

from enum import StrEnum
from typing import Literal

from harness.records import Record


class Rule(StrEnum):
    """What can be wrong with an image."""

    GIT_HEAD = "git-head"
    GIT_REF = "git-ref"
    GIT_REFLOG = "git-reflog"
    GIT_REMOTE = "git-remote"
    GIT_STATE = "git-state"
    GIT_OBJECT = "git-object"
    GIT_ELSEWHERE = "git-elsewhere"
    GIT_UNREADABLE = "git-unreadable"
    WORK_TREE = "work-tree"
    OTHER_COPY = "other-copy"
    GOLD_LINES = "gold-lines"
    TEST_LINES = "test-lines"
    EGRESS = "egress"


class Finding(Record):
    """One thing that an agent could learn from, or that keeps us from knowing.

    An `error` shows something of the fix or of a later commit, or may; a `warning` is worth a look
    (another repository, an older copy) and shows nothing of the fix.
    """

    rule: Rule
    severity: Literal["error", "warning"]
    path: str
    detail: str
    object: str = ""
    line: str = ""
    reproduce: str = ""


class LintReport(Record):
    """All findings of one image."""

    schema_version: Literal[1] = 1
    linter: str
    instance_id: str
    image: str
    digest: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that refuse the image."""
        return tuple(finding for finding in self.findings if finding.severity == "error")
