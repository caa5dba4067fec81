"""Grades answers: mathematics by comparing, programs by running their tests."""

import hashlib
import platform
import time
from typing import Literal

from harness.grading.options import GradingOptions
from harness.questions.extract import final_answer, last_program
from harness.questions.mathematics import MathJudge, version
from harness.questions.programs import DRIVER_TEXT, PYTHON, Verdicts, limits_of, run_tests
from harness.questions.records import CodeRule, MathRule, rule_of
from harness.records import (
    Finding,
    Grade,
    Instance,
    TestCounts,
    Timing,
    Verdict,
    encode_patch,
)
from harness.records.cache import cache_root
from harness.sandboxes.base import Sandbox, SandboxFailure, SandboxProvider
from harness.sandboxes.process_image import ProcessImage

Kind = Literal["math", "code"]
RULES = "questions-1"
_CONTROL = "print('control')\n"


def grader_name(kind: Kind) -> str:
    """What judges answers, with its version. Raises SuiteError when math-verify is missing."""
    if kind == "math":
        return f"{RULES}+math-verify-{version()}"
    return f"{RULES}+python-{platform.python_version()}"


def program_image() -> tuple[str, str]:
    """The image that programs run in, and its digest: the machine's system and Python, no packages.

    It is a folder in the cache; making it again changes nothing.
    """
    facts = f"{PYTHON} {platform.python_version()}\n{DRIVER_TEXT}"
    digest = hashlib.sha256(facts.encode()).hexdigest()
    folder = cache_root() / "questions" / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    ProcessImage(digest=f"sha256:{digest}", mounts=()).save(folder)
    return str(folder), f"sha256:{digest}"


class QuestionGrader:
    """Grades answers to questions of one kind. Safe to use from several threads."""

    def __init__(
        self, kind: Kind, provider: SandboxProvider, options: GradingOptions, *, owner: str
    ) -> None:
        self._name = grader_name(kind)
        self._provider = provider
        self._options = options
        self._owner = owner
        self._judge = MathJudge()

    def close(self) -> None:
        """End the processes that compare answers."""
        self._judge.close()

    def grade(self, instance: Instance, patch: str, image: str) -> tuple[Grade, bytes]:
        """The grade of a response, which is the attempt's `patch`, and a log of how it came about.

        Raises ValueError when the instance is no question.
        """
        rule = rule_of(instance)
        if not patch.strip():
            return self._grade(instance, patch, Verdict.EMPTY_PATCH, "the response is empty"), b""
        if isinstance(rule, MathRule):
            return self._grade_math(instance, patch, rule)
        return self._grade_code(instance, patch, rule, image)

    def refuse(
        self, instance: Instance, patch: str, reason: str, *, digest: str = "", tries: int = 1
    ) -> Grade:
        """The grade of a response that could not be judged: an infrastructure failure."""
        return self._grade(
            instance, patch, Verdict.INFRA_FAILURE, reason, image_digest=digest, tries=tries
        )

    def _grade_math(self, instance: Instance, response: str, rule: MathRule) -> tuple[Grade, bytes]:
        answer = final_answer(response)
        if answer is None:
            reason = r"the response has no line `Answer: …` and no \boxed{…}"
            return self._grade(instance, response, Verdict.UNRESOLVED, reason), b""
        began = time.monotonic()
        said = self._judge.compare(rule.answer, answer)
        findings = []
        if said.over_limit:
            text = "comparing the answer took too long or too much memory"
            findings.append(Finding(code="comparison_over_limit", text=text))
        elif said.reads != "both" and not said.same:
            text = f"as mathematics, there is {said.reads}: only equal texts count as the same"
            findings.append(Finding(code="answer_unreadable", text=text))
        is_not = "is" if said.same else "is not"
        reason = f"the answer {answer[:200]!r} {is_not} {rule.answer[:200]!r}"
        grade = self._grade(
            instance,
            response,
            Verdict.RESOLVED if said.same else Verdict.UNRESOLVED,
            reason,
            passed=int(said.same),
            ran=1,
            findings=tuple(findings),
            timing=Timing(total=time.monotonic() - began),
        )
        return grade, f"answer: {answer}\nreference: {rule.answer}\n".encode(errors="replace")

    def _grade_code(
        self, instance: Instance, response: str, rule: CodeRule, image: str
    ) -> tuple[Grade, bytes]:
        program = last_program(response)
        if program is None:
            reason = "the response has no closed fenced block of Python"
            return self._grade(instance, response, Verdict.UNRESOLVED, reason), b""
        failure = ""
        for tries in range(1, self._options.tries + 1):
            began = time.monotonic()
            try:
                with self._sandbox(rule, image) as sandbox:
                    digest = sandbox.image_digest
                    verdicts = run_tests(sandbox, program, rule, seconds=self._options.test_timeout)
            except SandboxFailure as error:
                failure = f"{type(error).__name__}: {error}"
                continue
            timing = Timing(tests=time.monotonic() - began, total=time.monotonic() - began)
            grade = self._judged(instance, response, rule, verdicts).model_copy(
                update={"image_digest": digest, "tries": tries, "timing": timing}
            )
            return grade, ("\n".join(verdicts.log) + "\n").encode(errors="replace")
        if self._works(rule, image):
            # Otherwise a program that breaks its sandbox would leave the denominator.
            reason = f"the program breaks its sandbox, which works without it: {failure}"
            return self._grade(instance, response, Verdict.UNRESOLVED, reason, tries=tries), b""
        return self.refuse(instance, response, failure, tries=tries), b""

    def _sandbox(self, rule: CodeRule, image: str) -> Sandbox:
        limits = limits_of(rule, self._options.limits)
        return self._provider.start(image, limits=limits, owner=self._owner)

    def _works(self, rule: CodeRule, image: str) -> bool:
        try:
            with self._sandbox(rule, image) as sandbox:
                sandbox.write("/tmp/control.py", _CONTROL.encode())  # noqa: S108
                ran = sandbox.exec([PYTHON, "/tmp/control.py"], timeout=60, cwd="/")  # noqa: S108
        except SandboxFailure:
            return False
        return ran.text == "control\n"

    def _judged(
        self, instance: Instance, response: str, rule: CodeRule, verdicts: Verdicts
    ) -> Grade:
        total = len(rule.tests.inputs)
        if verdicts.passed == total:
            verdict, reason = Verdict.RESOLVED, f"{total} of {total} tests passed"
        else:
            verdict = Verdict.TIMED_OUT if verdicts.timed_out else Verdict.UNRESOLVED
            reason = (
                f"{verdicts.passed} of {total} tests passed; "
                f"test {verdicts.passed + 1}: {verdicts.why}"
            )
        return self._grade(
            instance, response, verdict, reason, passed=verdicts.passed, ran=verdicts.ran
        )

    def _grade(
        self,
        instance: Instance,
        response: str,
        verdict: Verdict,
        reason: str,
        *,
        passed: int = 0,
        ran: int = 0,
        findings: tuple[Finding, ...] = (),
        timing: Timing | None = None,
        image_digest: str = "",
        tries: int = 1,
    ) -> Grade:
        names = instance.FAIL_TO_PASS
        done = dict.fromkeys(names[:passed], "PASSED")
        failed = names[passed:ran]
        return Grade(
            instance_id=instance.instance_id,
            verdict=verdict,
            reason=reason[:2_000],
            findings=findings,
            counts=TestCounts(fail_to_pass_passed=passed, fail_to_pass_total=len(names)),
            tests=done | dict.fromkeys(failed, "FAILED"),
            failed_tests=failed,
            official_resolved=verdict is Verdict.RESOLVED,
            stopped_early=ran < len(names),
            timing=timing or Timing(),
            patch_sha256=hashlib.sha256(encode_patch(response)).hexdigest(),
            image_digest=image_digest,
            grader=self._name,
            cache_key="",
            tries=tries,
        )
