"""The verdict on one attempt and everything behind it."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from harness.records.base import Record


class Verdict(StrEnum):
    """What became of a patch. Only `resolved` scores; `infra_failure` is reported apart."""

    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    PATCH_FAILED = "patch_failed"  # `git apply` refused it
    EMPTY_PATCH = "empty_patch"
    TIMED_OUT = "timed_out"
    INFRA_FAILURE = "infra_failure"  # the environment broke, not the patch


class Finding(Record):
    """Something in a patch or its log that a reader of the verdict should know."""

    code: str
    text: str


class TestCounts(Record):
    """How many of the tests that decide the verdict ended as they must."""

    __test__ = False

    fail_to_pass_passed: int = 0
    fail_to_pass_total: int = 0
    pass_to_pass_passed: int = 0
    pass_to_pass_total: int = 0


class Timing(Record):
    """Seconds spent on one evaluation."""

    start: float = 0.0
    prepare: float = 0.0
    tests: float = 0.0
    total: float = 0.0


class Grade(Record):
    """`grade.json`: the verdict on one attempt.

    `tests` maps every test that the official parser saw to its status (PASSED, FAILED, SKIPPED,
    ERROR, XFAIL). `official_resolved` is what the official rules alone say of the same log; it
    differs from the verdict only where a finding says why.
    """

    schema_version: Literal[1] = 1
    instance_id: str
    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...] = ()
    counts: TestCounts = TestCounts()
    tests: dict[str, str] = Field(default_factory=dict)
    failed_tests: tuple[str, ...] = Field((), description="Deciding tests that did not pass.")
    official_resolved: bool = False
    stopped_early: bool = False
    exit_code: int | None = None
    timing: Timing = Timing()
    patch_sha256: str
    image_digest: str
    grader: str
    cache_key: str
    cached: bool = False
    tries: int = 1
