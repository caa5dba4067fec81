"""Programs of answers in the process sandbox, honest ones and attacks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.grading.options import GradingOptions
from harness.questions.grader import QuestionGrader, program_image
from harness.questions.records import MIB, CodeRule, Tests, as_instance
from harness.records import Grade, Verdict
from harness.sandboxes import make_provider
from harness.sandboxes.base import SandboxFailure

Grades = Callable[..., Grade]
ECHO = Tests(inputs=("a b\n", "c\n"), outputs=("a b", "c"))


@pytest.fixture(scope="module")
def grades() -> Grades:
    """Grades a program on tests."""
    try:
        provider = make_provider("process")
    except SandboxFailure as error:
        pytest.skip(str(error))
    image, _ = program_image()

    def grade(
        program: str, tests: Tests = ECHO, *, seconds: float = 5.0, total: float = 60
    ) -> Grade:
        options = GradingOptions(test_timeout=total, tries=1)
        grader = QuestionGrader("code", provider, options, owner="questions")
        rule = CodeRule(tests=tests, seconds=seconds, memory_bytes=256 * MIB)
        one = as_instance(suite="s", name="1", question="?", rule=rule)
        return grader.grade(one, f"```python\n{program}\n```", image)[0]

    return grade


def test_a_right_program(grades: Grades) -> None:
    grade = grades("import sys\nprint(input())\nprint('debug', file=sys.stderr)")
    assert grade.verdict is Verdict.RESOLVED
    assert grade.tests == {"test 1": "PASSED", "test 2": "PASSED"}
    assert grade.image_digest.startswith("sha256:")
    assert grade.reason == "2 of 2 tests passed"


@pytest.mark.parametrize(
    ("program", "verdict", "said"),
    [
        ("print('a b')", Verdict.UNRESOLVED, "1 of 2 tests passed; test 2: wrong output"),
        ("1 / 0", Verdict.UNRESOLVED, "ZeroDivisionError"),
        ("def f(:", Verdict.UNRESOLVED, "SyntaxError"),
        ("while True: pass", Verdict.TIMED_OUT, "over the time limit of 1 s"),
        ("x = bytearray(2**30)\nprint(input())", Verdict.UNRESOLVED, "exit code"),
        ("while True: print('x' * 2**20)", Verdict.UNRESOLVED, "more than 16,777,216 bytes"),
        ("import numpy", Verdict.UNRESOLVED, "ModuleNotFoundError"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 22))", Verdict.UNRESOLVED, "Error"),
        ("open('/usr/proof', 'w')", Verdict.UNRESOLVED, "Read-only file system"),
    ],
)
def test_wrong_programs(grades: Grades, program: str, verdict: Verdict, said: str) -> None:
    grade = grades(program, seconds=1.0 if verdict is Verdict.TIMED_OUT else 5.0)
    assert said in grade.reason
    assert grade.verdict is verdict
    assert len(grade.reason) <= 2_000


def test_the_reference_is_nowhere_in_the_sandbox(grades: Grades) -> None:
    secret = Tests(inputs=("\n",), outputs=("the-expected-output",))
    search = (
        "import glob, pathlib, sys\n"
        "places = [*pathlib.Path('/tmp').rglob('*'), *pathlib.Path('/home').rglob('*')]\n"
        "places += map(pathlib.Path, glob.glob('/proc/[0-9]*/cmdline'))\n"
        "texts = [place.read_bytes() for place in places if place.is_file()]\n"
        "sys.exit(f'{len(texts)} read, {sum(b\"d-outp\" in text for text in texts)} with it')"
    )
    reason = grades(search, secret).reason
    assert ", 1 with it" in reason, "this very program, which has a part of the text"


def test_all_tests_share_a_limit(grades: Grades) -> None:
    many = Tests(inputs=("1\n",) * 50, outputs=("1",) * 50)
    grade = grades("import time; time.sleep(0.3); print(1)", many, total=1.0)
    assert grade.verdict is Verdict.TIMED_OUT
    assert 1 <= grade.counts.fail_to_pass_passed < 5
    assert grade.stopped_early


def test_a_program_cannot_leave_the_denominator(
    grades: Grades, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a sandbox fails with the program and works without it, the program is wrong."""
    import harness.questions.grader as module

    def fail(*_: object, **__: object) -> None:
        raise SandboxFailure("broken")

    monkeypatch.setattr(module, "run_tests", fail)
    assert grades("print(1)").verdict is Verdict.UNRESOLVED
    monkeypatch.setattr(module, "PYTHON", "/nowhere")
    assert grades("print(1)").verdict is Verdict.INFRA_FAILURE


FUNCTION = Tests(inputs=("[[3, 1, 2], 1]", "[[], 0]"), outputs=("[1, 2, 3]", "[]"), function="f")


@pytest.mark.parametrize(
    ("program", "right"),
    [
        ("def f(numbers: List[int], times):\n    print('noise')\n    return sorted(numbers)", True),
        ("class Solution:\n    def f(self, one, times):\n        return tuple(sorted(one))", True),
        ("from __future__ import annotations\ndef f(numbers, times): return sorted(numbers)", True),
        ("def f(numbers, times): return numbers", False),
        ("def f(numbers): return sorted(numbers)", False),
        ("def g(numbers, times): return sorted(numbers)", False),
        ("def f(numbers, times): return object()", False),
        ("import os\nos.write(3, b'[1, 2, 3]'); os._exit(0)", False),
    ],
)
def test_functions(grades: Grades, program: str, right: bool) -> None:
    assert (grades(program, FUNCTION).verdict is Verdict.RESOLVED) is right


def test_no_program_and_no_answer(tmp_path: Path) -> None:
    provider = make_provider("process")
    grader = QuestionGrader("code", provider, GradingOptions(), owner="questions")
    rule = CodeRule(tests=ECHO, seconds=1, memory_bytes=256 * MIB)
    one = as_instance(suite="s", name="1", question="?", rule=rule)
    assert grader.grade(one, "", "")[0].verdict is Verdict.EMPTY_PATCH
    grade, _ = grader.grade(one, "print(input())", "")
    assert (grade.verdict, grade.counts.fail_to_pass_total) == (Verdict.UNRESOLVED, 2)
    assert "no closed fenced block" in grade.reason
