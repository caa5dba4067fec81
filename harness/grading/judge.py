"""From what an evaluation showed to a grade."""

import hashlib
import secrets
from dataclasses import dataclass, field

from harness.grading import official
from harness.grading.early_exit import STOPPED
from harness.grading.eval_script import EvalPlan
from harness.grading.patches import PatchFacts
from harness.grading.prepare import MODEL_PATCH_FAILED, PREPARED
from harness.grading.trust import trusted_statuses
from harness.records import Finding, Grade, Instance, TestCounts, Timing, Verdict, encode_patch
from harness.sandboxes.base import ExecResult

GRADER = f"harness-1+swebench-{official.VERSION}"


@dataclass
class Evaluation:
    """What one run in a sandbox showed; `broken` says how the sandbox itself failed."""

    prepared: ExecResult | None = None
    tests: ExecResult | None = None
    started: bool = False
    broken: str = ""
    decided_by: str | None = None
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    timing: Timing = field(default_factory=Timing)

    def log(self) -> bytes:
        """The stored log: both parts between lines with a nonce that no sandbox has seen."""
        parts = []
        for name, result in (("prepare", self.prepared), ("tests", self.tests)):
            if result is not None:
                parts.append(f">>>>> {self.nonce} {name}\n".encode())
                parts.append(result.output.rstrip(b"\n") + b"\n")
                end = "time limit" if result.timed_out else f"exit code {result.exit_code}"
                parts.append(f">>>>> {self.nonce} end of {name}: {end}\n".encode())
        return b"".join(parts)

    @property
    def failure(self) -> str:
        """What broke the sandbox or its preparation, unless git refused the patch; or nothing."""
        if self.broken:
            return self.broken
        prepared = self.prepared
        if prepared is None:
            return "the sandbox ran nothing"
        ready = prepared.exit_code == 0 and PREPARED in prepared.text
        if ready or prepared.exit_code == MODEL_PATCH_FAILED or prepared.timed_out:
            return ""
        last = prepared.text.strip().splitlines()[-1:] or ["no output"]
        return f"preparing the environment failed (exit code {prepared.exit_code}): {last[0][:300]}"


@dataclass
class Judge:
    """Grades one patch on one image."""

    instance: Instance
    patch: str
    digest: str
    key: str
    facts: PatchFacts

    def __call__(
        self, verdict: Verdict, reason: str, findings: tuple[Finding, ...] = (), **more: object
    ) -> Grade:
        return Grade.model_validate(
            {
                "instance_id": self.instance.instance_id,
                "verdict": verdict,
                "reason": reason,
                "findings": (*self.facts.findings, *findings),
                "patch_sha256": hashlib.sha256(encode_patch(self.patch)).hexdigest(),
                "image_digest": self.digest,
                "grader": GRADER,
                "cache_key": self.key,
                **more,
            }
        )

    def grade(self, run: Evaluation, plan: EvalPlan) -> Grade:
        """The grade of a finished evaluation."""
        prepared, tests = run.prepared, run.tests
        assert prepared is not None
        if prepared.exit_code == MODEL_PATCH_FAILED:
            lines = [line for line in prepared.text.splitlines() if line.startswith("error:")]
            reason = "git apply refused the patch: " + (lines[0][:300] if lines else "see the log")
            return self(Verdict.PATCH_FAILED, reason, timing=run.timing)
        if prepared.timed_out or tests is None:
            reason = f"installing the patched package took over {prepared.seconds:.0f} s"
            return self(Verdict.TIMED_OUT, reason, timing=run.timing)
        return self._grade_tests(run, plan, tests)

    def _grade_tests(self, run: Evaluation, plan: EvalPlan, tests: ExecResult) -> Grade:
        instance = self.instance
        output = tests.text
        report = official.judge_log(instance, output, tests.exit_code)
        deciding = (*instance.FAIL_TO_PASS, *instance.PASS_TO_PASS)
        statuses, findings = trusted_statuses(
            output,
            report.statuses,
            deciding,
            pytest="pytest" in plan.tests or "tox" in plan.tests,
            parse=lambda text: official.parse(instance, text),
        )
        lists = official.judge_statuses(instance, statuses)
        failed = (*lists["FAIL_TO_PASS"]["failure"], *lists["PASS_TO_PASS"]["failure"])
        counts = TestCounts(
            fail_to_pass_passed=len(lists["FAIL_TO_PASS"]["success"]),
            fail_to_pass_total=len(instance.FAIL_TO_PASS),
            pass_to_pass_passed=len(lists["PASS_TO_PASS"]["success"]),
            pass_to_pass_total=len(instance.PASS_TO_PASS),
        )
        resolved = report.resolved and not failed and not tests.timed_out
        if report.infra_reason and not resolved:
            findings += (
                Finding(
                    code="environment_suspected",
                    text=f"the log looks like a broken environment: {report.infra_reason}",
                ),
            )
        stopped = run.decided_by is not None or STOPPED in output
        verdict, reason = _verdict(tests, counts, failed, resolved=resolved, stopped=stopped)
        return self(
            verdict,
            reason,
            findings=findings,
            counts=counts,
            tests=statuses,
            failed_tests=failed,
            official_resolved=report.resolved,
            stopped_early=stopped,
            exit_code=tests.exit_code,
            timing=run.timing,
        )


def _verdict(
    tests: ExecResult,
    counts: TestCounts,
    failed: tuple[str, ...],
    *,
    resolved: bool,
    stopped: bool,
) -> tuple[Verdict, str]:
    if tests.timed_out:
        return Verdict.TIMED_OUT, f"the tests were stopped after {tests.seconds:.0f} s"
    tally = (
        f"{counts.fail_to_pass_passed} of {counts.fail_to_pass_total} FAIL_TO_PASS and "
        f"{counts.pass_to_pass_passed} of {counts.pass_to_pass_total} PASS_TO_PASS passed"
    )
    if resolved:
        return Verdict.RESOLVED, tally
    extra = ""
    if stopped:
        extra = "; stopped at the first that failed, the rest did not run"
    elif tests.truncated:
        extra = f"; the output was cut, {tests.output_bytes:,} bytes are over the limit"
    elif tests.exit_code == 137:
        extra = "; the tests were killed, most likely over the memory limit"
    elif not failed:
        extra = f"; exit code {tests.exit_code} contradicts the log"
    first = f"; first failed: {failed[0]}" if failed else ""
    return Verdict.UNRESOLVED, tally + extra + first
