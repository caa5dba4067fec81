"""Which of the parsed test statuses to believe.

The official parsers take any line of the right shape, wherever it stands. A patch can print such
lines. Two facts bound what printing can do: pytest names every test once, in the summary that ends
its session; and no honest log shows one deciding test both failed and passed.

This stops forgery by output. Code of the patch runs in the test process and could, with effort,
corrupt the runner itself: `patches.inspect_patch` flags what looks like it.
"""

import re
from collections.abc import Callable, Iterable

from harness.records import Finding

_SUMMARY_HEAD = re.compile(r"^=+ short test summary info =+\s*$", re.M)
_SESSION_END = re.compile(
    r"^(?:=+ )?(?:no tests ran|\d+ \w+(?:, \d+ \w+)*)(?: \w+)* in [\d.:]+\s?s(?:econds)?\b.*$", re.M
)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_FAILED_LINE = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.M)
_UNITTEST_FAILED = re.compile(r"^(.+?) \.\.\. (?:FAIL|ERROR)\s*$", re.M)
_PASSING = ("PASSED", "XFAIL")

Parse = Callable[[str], dict[str, str]]


def trusted_statuses(
    output: str, statuses: dict[str, str], deciding: Iterable[str], *, pytest: bool, parse: Parse
) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """The statuses with each deciding test that cannot be believed set to FAILED, and why.

    `parse` is the official parser of the instance's log; `deciding` are its FAIL_TO_PASS and
    PASS_TO_PASS.
    """
    plain = _COLOUR.sub("", output)
    passing = {test for test in deciding if statuses.get(test) in _PASSING}
    findings = []
    distrusted: set[str] = set()

    contradicted = passing & (
        set(_FAILED_LINE.findall(plain)) | set(_UNITTEST_FAILED.findall(plain))
    )
    if contradicted:
        distrusted |= contradicted
        findings.append(
            _finding("contradictory_log", "reported both failed and passed", contradicted)
        )

    if pytest:
        summary = _final_summary(plain)
        confirmed = parse(summary) if summary is not None else {}
        unconfirmed = {
            test for test in passing - distrusted if "::" in test and test not in confirmed
        }
        if unconfirmed:
            distrusted |= unconfirmed
            where = "outside the session's summary" if summary else "without the end of a session"
            findings.append(_finding("unconfirmed_pass", f"reported passed {where}", unconfirmed))
    return statuses | dict.fromkeys(distrusted, "FAILED"), tuple(findings)


def _final_summary(output: str) -> str | None:
    """The text between the last session's summary header and its closing line."""
    ends = list(_SESSION_END.finditer(output))
    if not ends:
        return None
    heads = [head for head in _SUMMARY_HEAD.finditer(output) if head.end() <= ends[-1].start()]
    return output[heads[-1].end() : ends[-1].start()] if heads else None


def _finding(code: str, what: str, tests: set[str]) -> Finding:
    names = ", ".join(sorted(tests)[:3])
    return Finding(
        code=code, text=f"{len(tests)} deciding tests {what}, counted as failed: {names}"
    )
