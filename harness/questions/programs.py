"""Runs an answer's program against the tests of its question, in a sandbox without network."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.questions.compare import same_output, same_value
from harness.questions.records import MIB, CodeRule, Tests
from harness.sandboxes.base import ExecResult, Limits, Sandbox

PYTHON = f"{sys.base_prefix}/bin/python3"
PROGRAM, DRIVER, ERRORS = "/tmp/program.py", "/tmp/driver.py", "/tmp/errors"  # noqa: S108
DRIVER_TEXT = Path(__file__).with_name("function_driver.py").read_text(encoding="utf-8")
_SHOWN = 2_000
_OUTPUT = 16 * MIB


@dataclass
class Verdicts:
    """What became of the tests that ran; the last one failed unless all passed.

    why: what was wrong with the last; timed_out: that it took too long.
    """

    passed: int = 0
    ran: int = 0
    why: str = ""
    timed_out: bool = False
    log: list[str] = field(default_factory=list)


class _Flood:
    """Says when a program has written more than is kept."""

    def __init__(self) -> None:
        self._bytes = 0

    def __call__(self, chunk: bytes) -> bool:
        self._bytes += len(chunk)
        return self._bytes > _OUTPUT


def limits_of(rule: CodeRule, most: Limits) -> Limits:
    """A sandbox's limits for a program, within `most`."""
    return Limits(
        memory_bytes=min(rule.memory_bytes, most.memory_bytes),
        pids=min(64, most.pids),
        disk_bytes=min(256 * MIB, most.disk_bytes),
        cpus=1,
        output_bytes=_OUTPUT,
    )


def run_tests(sandbox: Sandbox, program: str, rule: CodeRule, *, seconds: float) -> Verdicts:
    """Run the tests in their order until one fails, all within `seconds`.

    The program never sees an expected output. Raises SandboxFailure.
    """
    tests, verdicts = rule.tests, Verdicts()
    sandbox.write(PROGRAM, program.encode(errors="replace"))
    if tests.function:
        sandbox.write(DRIVER, DRIVER_TEXT.encode())
    deadline = time.monotonic() + seconds
    for number, (given, expected) in enumerate(zip(tests.inputs, tests.outputs, strict=True), 1):
        left = deadline - time.monotonic()
        if left <= 0:
            verdicts.why, verdicts.timed_out = f"all tests took over {seconds:g} s", True
            return verdicts
        limit = min(rule.seconds, left)
        ran = sandbox.exec(
            _command(tests),
            timeout=limit,
            cwd="/tmp",  # noqa: S108
            stdin=given.encode(errors="replace"),
            on_output=_Flood(),
        )
        verdicts.ran = number
        verdicts.why = _fault(sandbox, ran, rule, expected, limit)
        verdicts.timed_out = ran.timed_out
        verdicts.log.append(f"test {number}: {verdicts.why or 'passed'} ({ran.seconds:.2f} s)")
        if verdicts.why:
            return verdicts
        verdicts.passed = number
    return verdicts


def _command(tests: Tests) -> list[str]:
    words = [PYTHON, "-I", PROGRAM]
    if tests.function:
        words = [PYTHON, "-I", DRIVER, PROGRAM, tests.function]
    return ["/bin/sh", "-c", f'exec "$@" 2>{ERRORS}', "sh", *words]


def _fault(sandbox: Sandbox, ran: ExecResult, rule: CodeRule, expected: str, limit: float) -> str:
    """What is wrong with a test's end; nothing when it passed."""
    if ran.timed_out:
        return f"over the time limit of {limit:g} s"
    if ran.output_bytes > _OUTPUT:
        return f"more than {_OUTPUT:,} bytes of output"
    if ran.exit_code != 0:
        said = sandbox.exec(["tail", "-c", str(_SHOWN), ERRORS], timeout=30, cwd="/").text
        return f"exit code {ran.exit_code}: {said.strip() or 'no message'}"
    if rule.tests.function:
        right = same_value(expected, ran.text, tolerance=rule.tolerance)
    else:
        right = same_output(
            expected, ran.text, tolerance=rule.tolerance, ignore_case=rule.ignore_case
        )
    if right:
        return ""
    return f"wrong output: expected {_short(expected)}, found {_short(ran.text)}"


def _short(text: str) -> str:
    shown = repr(text[: _SHOWN // 4])
    return shown if len(text) <= _SHOWN // 4 else f"{shown} and {len(text):,} characters in all"
