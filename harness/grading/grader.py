"""Evaluate one patch: fresh sandbox, patch, tests restored, tests run, log judged."""

import hashlib
import secrets
import time
from dataclasses import dataclass, field

from harness.grading import official
from harness.grading.cache import GradeCache, cache_key
from harness.grading.early_exit import STOPPED, OutputWatcher, plugin_environment, plugin_files
from harness.grading.eval_script import EvalPlan, plan_evaluation
from harness.grading.options import GradingOptions
from harness.grading.patches import PatchFacts, inspect_patch
from harness.grading.prepare import (
    FOLDER,
    INSTALL_ENVIRONMENT,
    MODEL_PATCH_FAILED,
    PREPARED,
    UNPACK_AND_PREPARE,
    pack,
    prepare_script,
    test_script,
)
from harness.grading.trust import trusted_statuses
from harness.records import Finding, Grade, Instance, TestCounts, Timing, Verdict, encode_patch
from harness.sandboxes.base import (
    ExecResult,
    SandboxFailure,
    SandboxProvider,
)

GRADER = f"harness-1+swebench-{official.VERSION}"


@dataclass
class _Evaluation:
    """What one run in a sandbox showed."""

    prepared: ExecResult | None = None
    tests: ExecResult | None = None
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


class Grader:
    """Grades patches on one kind of sandbox. Safe to use from several threads."""

    def __init__(
        self,
        provider: SandboxProvider,
        options: GradingOptions,
        *,
        owner: str,
        cache: GradeCache | None = None,
    ) -> None:
        self._provider = provider
        self._options = options
        self._owner = owner
        self._cache = cache

    def grade(self, instance: Instance, patch: str, image: str) -> tuple[Grade, bytes]:
        """The grade of a patch and the evaluation's log.

        Infrastructure failures are retried and end in the verdict `infra_failure`; they never
        raise. Raises EvalScriptError for a row that cannot be graded at all.
        """
        plan = plan_evaluation(instance)
        facts = inspect_patch(
            patch,
            test_paths=(*plan.test_files, *plan.new_test_files),
            gold_patch=instance.patch,
        )
        try:
            digest = self._provider.digest(image)
        except SandboxFailure as error:
            return self.refuse(instance, patch, str(error)), b""
        key = cache_key(instance, patch, digest, self._rules())
        if self._cache and (hit := self._cache.get(key)):
            return hit
        make = _GradeMaker(instance, patch, digest, key, facts)
        if not patch.strip():
            return make(Verdict.EMPTY_PATCH, "the patch is empty"), b""
        return self._grade_in_sandbox(make, plan, image)

    def refuse(
        self, instance: Instance, patch: str, reason: str, *, digest: str = "", tries: int = 1
    ) -> Grade:
        """The grade of a patch that could not be evaluated: an infrastructure failure."""
        return Grade(
            instance_id=instance.instance_id,
            verdict=Verdict.INFRA_FAILURE,
            reason=reason,
            patch_sha256=hashlib.sha256(encode_patch(patch)).hexdigest(),
            image_digest=digest,
            grader=GRADER,
            cache_key=cache_key(instance, patch, digest, self._rules()),
            tries=tries,
        )

    def _grade_in_sandbox(
        self, make: "_GradeMaker", plan: EvalPlan, image: str
    ) -> tuple[Grade, bytes]:
        for tries in range(1, self._options.tries + 1):
            run = _Evaluation()
            try:
                self._evaluate(run, make, plan, image)
                failure = _preparation_failure(run)
            except SandboxFailure as error:
                failure = f"{type(error).__name__}: {error}"
            if not failure:
                grade = make.judge(run, plan).model_copy(update={"tries": tries})
                if self._cache:
                    self._cache.put(grade, run.log())
                return grade, run.log()
        refused = self.refuse(make.instance, make.patch, failure, digest=make.digest, tries=tries)
        return refused, run.log()

    def _evaluate(self, run: _Evaluation, make: "_GradeMaker", plan: EvalPlan, image: str) -> None:
        options, began = self._options, time.monotonic()
        with self._provider.start(image, limits=options.limits, owner=self._owner) as sandbox:
            started = time.monotonic()
            files, environment = self._inputs(make, plan)
            run.prepared = sandbox.exec(
                ["bash", "-c", UNPACK_AND_PREPARE],
                timeout=options.prepare_timeout,
                env=INSTALL_ENVIRONMENT,
                stdin=pack(files),
            )
            prepared = time.monotonic()
            if run.prepared.exit_code == 0:
                watcher = OutputWatcher(make.instance, plan)
                watching = options.early_exit and watcher.useful
                run.tests = sandbox.exec(
                    test_script(plan),
                    timeout=options.test_timeout,
                    env=environment,
                    on_output=watcher if watching else None,
                )
                run.decided_by = watcher.decided_by
            tested = time.monotonic()
        run.timing = Timing(
            start=started - began,
            prepare=prepared - started,
            tests=tested - prepared,
            total=time.monotonic() - began,
        )

    def _inputs(
        self, make: "_GradeMaker", plan: EvalPlan
    ) -> tuple[dict[str, bytes], dict[str, str]]:
        """The files that an evaluation needs, and the environment of its test command."""
        files = {
            "model.patch": _with_newline(make.patch),
            "test.patch": plan.test_patch.encode(),
            "prepare.sh": prepare_script(make.instance, plan, make.facts).encode(),
        }
        environment: dict[str, str] = {}
        if self._options.early_exit and (environment := plugin_environment(plan, FOLDER)):
            files |= plugin_files(make.instance)
        return files, environment

    def _rules(self) -> dict[str, object]:
        # Tries do not change a verdict; time-outs are never cached, so their limits do not either.
        return {
            "grader": GRADER,
            "early_exit": self._options.early_exit,
            "limits": self._options.limits.model_dump(),
        }


def _with_newline(patch: str) -> bytes:
    """`git apply` calls a patch corrupt that does not end in a newline."""
    return encode_patch(patch if patch.endswith("\n") else patch + "\n")


def _preparation_failure(run: _Evaluation) -> str:
    """What broke before the tests for a reason that is not the patch's, or nothing."""
    prepared = run.prepared
    if prepared is None:
        return "the sandbox ran nothing"
    ready = prepared.exit_code == 0 and PREPARED in prepared.text
    if ready or prepared.exit_code == MODEL_PATCH_FAILED or prepared.timed_out:
        return ""
    last = prepared.text.strip().splitlines()[-1:] or ["no output"]
    return f"preparing the environment failed (exit code {prepared.exit_code}): {last[0][:300]}"


@dataclass
class _GradeMaker:
    """Turns what an evaluation showed into a grade."""

    instance: Instance
    patch: str
    digest: str
    key: str
    facts: PatchFacts

    def __call__(self, verdict: Verdict, reason: str, **more: object) -> Grade:
        findings = (*self.facts.findings, *more.pop("findings", ()))  # type: ignore[misc]
        return Grade.model_validate(
            {
                "instance_id": self.instance.instance_id,
                "verdict": verdict,
                "reason": reason,
                "findings": findings,
                "patch_sha256": hashlib.sha256(encode_patch(self.patch)).hexdigest(),
                "image_digest": self.digest,
                "grader": GRADER,
                "cache_key": self.key,
                **more,
            }
        )

    def judge(self, run: _Evaluation, plan: EvalPlan) -> Grade:
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
        return self._judge_tests(run, plan, tests)

    def _judge_tests(self, run: _Evaluation, plan: EvalPlan, tests: ExecResult) -> Grade:
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
