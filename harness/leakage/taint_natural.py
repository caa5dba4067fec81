"""Without canaries: distinctive lines of gold and test patches before the student wrote them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environments.lint.needles import Needles
from harness.gateway.calls import read_calls
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.records import Instance, RunFolder
from harness.suites.load import load_suite
from harness.suites.rows import Unreadable, read_rows

_STUDENT = frozenset({"assistant", "action"})
_WORLD = frozenset({"system", "user", "observation", "tool"})
_TEST = re.compile(r"^\+\s*(?:async )?def (test\w{8,})\(", re.M)
_SHOWN = 100
_EVIDENCE = 160


@dataclass(frozen=True)
class Turn:
    """Something said in an attempt: by the student, or to it."""

    place: str
    student: bool
    first: bool  # before the student had said anything
    text: str


@dataclass(frozen=True)
class _Fingerprint:
    """What a patch adds that neither the issue nor the patch's own surroundings have."""

    field: str
    needles: Needles
    known: frozenset[bytes]
    names: frozenset[bytes]


def check(name: str, question: str, runs: list[Path]) -> Check:
    """Look for patches in what students were shown before they wrote it themselves.

    In a first prompt it is a leak; in a tool's output, which may show like lines of the base
    commit, a warning. Weaker than canaries: reworded or partial text goes unseen.
    """
    findings: list[Finding] = []
    attempts = 0
    for run in runs:
        suite = load_suite(str(RunFolder(run).suite), strict=False)
        instances = {each.instance_id: each for each in suite.instances}
        for folder in sorted((run / "attempts").glob("*/[!.]*")):
            if folder.parent.name in instances:
                attempts += 1
                findings += _look(folder, instances[folder.parent.name])
    leaks = sum(finding.severity is Severity.LEAK for finding in findings)
    return Check(
        name=name,
        question=question,
        status=Status.FAILED if leaks else Status.PASSED,
        reason=f"without a ledger: lines of the patches searched in the prompts of {attempts} "
        f"attempts; {leaks} leaks, {len(findings) - leaks} warnings",
        findings=tuple(findings[:_SHOWN]),
        figures={"attempts": attempts, "leaks": leaks, "warnings": len(findings) - leaks},
    )


def turns(folder: Path) -> Iterator[Turn]:
    """What was said in an attempt, in order: of `calls.parquet`, else of `events.jsonl`."""
    calls = folder / "calls.parquet"
    spoken = False
    said = _from_calls(calls) if calls.is_file() else _from_events(folder / "events.jsonl")
    for place, role, text in said:
        spoken |= role in _STUDENT
        if role in _STUDENT or role in _WORLD:
            yield Turn(place, role in _STUDENT, not spoken, text)


def _from_calls(path: Path) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for row in read_calls(path):
        messages: list[Any] = []
        for data, pick in ((row.request, _asked), (row.response, _answered)):
            try:
                messages += pick(json.loads(data or b"{}"))
            except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
                continue
        for message in messages:
            text = "\n".join(strings(message))
            if text not in seen:
                seen.add(text)
                yield f"{path}:call {row.call}", str(message.get("role", "assistant")), text


def strings(value: Any) -> Iterator[str]:
    """All texts in a JSON value; arguments of tool calls, which are JSON in a text, too."""
    if isinstance(value, str):
        if value.startswith("{"):
            try:
                yield from strings(json.loads(value))
                return
            except (ValueError, RecursionError):
                pass
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from strings(each)


def _asked(request: Any) -> list[Any]:
    return [each for each in request.get("messages", ()) if isinstance(each, dict)]


def _answered(response: Any) -> list[Any]:
    return [{"role": "assistant", **response["choices"][0]["message"]}]


def _from_events(path: Path) -> Iterator[tuple[str, str, str]]:
    if not path.is_file():
        return
    for number, row in read_rows(path):
        if not isinstance(row, Unreadable) and isinstance(row, dict):
            yield f"{path}:{number}", str(row.get("kind")), str(row.get("text"))


def _look(folder: Path, instance: Instance) -> Iterator[Finding]:
    left = [_fingerprint(instance, field) for field in ("patch", "test_patch")]
    own = b""
    for turn in turns(folder):
        text = turn.text.encode(errors="replace")
        if turn.student:
            own += text
            continue
        for fingerprint in list(left):
            told = _told(fingerprint, text, own)
            if told:
                left.remove(fingerprint)
                yield _finding(fingerprint, instance, turn, told)


def _fingerprint(instance: Instance, field: str) -> _Fingerprint:
    patch: str = getattr(instance, field)
    needles = Needles.of(patch)
    statement = instance.problem_statement.encode()
    around = "\n".join(line[1:] for line in patch.splitlines() if line[:1] in ("-", " ")).encode()
    known = frozenset(line for line in needles.lines if line in statement or line in around)
    names = frozenset(name.encode() for name in _TEST.findall(patch)) if field != "patch" else ()
    unknown = frozenset(each for each in names if each not in statement and each not in around)
    return _Fingerprint(field, needles, known, unknown)


def _told(fingerprint: _Fingerprint, text: bytes, own: bytes) -> bytes:
    """The longest line that a text tells of a patch, if it gives the patch away."""
    known = fingerprint.known | fingerprint.needles.find(own, all_lines=True)
    there = fingerprint.needles.find(text)
    told = fingerprint.needles.tells(there, known) if there else frozenset()
    named = {name for name in fingerprint.names if name in text and name not in own}
    return max({*told, *named}, key=lambda each: (len(each), each), default=b"")


def _finding(fingerprint: _Fingerprint, instance: Instance, turn: Turn, told: bytes) -> Finding:
    file = turn.place.rpartition(":")[0]
    line = told.decode(errors="replace")
    return Finding(
        severity=Severity.LEAK if turn.first else Severity.WARNING,
        title=f"lines of {instance.instance_id}'s {fingerprint.field} were shown to the student "
        + ("in its prompt" if turn.first else "by a tool, before it wrote them"),
        where=turn.place,
        evidence=line[:_EVIDENCE],
        reproduce=f"grep -nF -- {line[:60]!r} {file}"
        if file.endswith(".jsonl")
        else f"harness.gateway.read_calls({file!r}): {turn.place.rpartition(':')[2]}, its request",
    )
