"""Kinds of instances, by the size of what solves them."""

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from harness.records import Instance

FILES = "files in the gold patch"
LINES = "lines in the gold patch"
TESTS = "tests that must turn to pass"
UNREADABLE = "unreadable patch"
NOT_STATED = "not stated"

ORDER = (
    *("one file", "several files"),
    *("1–5 lines", "6–20 lines", "21 lines and more"),
    *("no test", "1 test", "2–5 tests", "6 tests and more"),
    *("<15 min fix", "15 min - 1 hour", "1-4 hours", ">4 hours"),
)
"""How labels are sorted; labels that are not here follow alphabetically."""


def categories(instance: Instance) -> dict[str, str]:
    """The label of an instance in each category; a question is in none.

    The bands of changed lines (added and removed) hold 45, 37 and 18 % of SWE-bench Verified.
    """
    if instance.is_question:
        return {}
    files = lines = UNREADABLE
    try:
        patch = PatchSet(instance.patch)
    except UnidiffParseError:
        patch = PatchSet("")
    if len(patch):
        files = "one file" if len(patch) == 1 else "several files"
        changed = patch.added + patch.removed
        lines = (
            "1–5 lines" if changed <= 5 else "6–20 lines" if changed <= 20 else "21 lines and more"
        )
    count = len(instance.FAIL_TO_PASS)
    tests = (
        "no test" if count == 0
        else "1 test" if count == 1
        else "2–5 tests" if count <= 5
        else "6 tests and more"
    )  # fmt: skip
    return {FILES: files, LINES: lines, TESTS: tests}


def label_order(label: str) -> tuple[int, str]:
    """Sort key of a label."""
    return (ORDER.index(label) if label in ORDER else len(ORDER), label)
