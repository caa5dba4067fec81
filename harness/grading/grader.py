"""Evaluate one patch: fresh sandbox, patch, tests restored, tests run, log judged."""

import hashlib
import time
from dataclasses import replace

from harness.grading.cache import GradeCache, cache_key
from harness.grading.early_exit import OutputWatcher, plugin_environment, plugin_files
from harness.grading.eval_script import EvalPlan, plan_evaluation
from harness.grading.judge import GRADER, Evaluation, Judge
from harness.grading.options import GradingOptions
from harness.grading.patches import inspect_patch
from harness.grading.prepare import (
    FOLDER,
    INSTALL_ENVIRONMENT,
    UNPACK_AND_PREPARE,
    pack,
    prepare_script,
    test_script,
)
from harness.records import Grade, Instance, Timing, Verdict, encode_patch
from harness.sandboxes.base import SandboxFailure, SandboxProvider

__all__ = ["GRADER", "Grader"]

# Changes nothing that a test could see: what fails with it, fails without any patch.
_CONTROL_PATCH = """\
diff --git a/harness-control.txt b/harness-control.txt
new file mode 100644
--- /dev/null
+++ b/harness-control.txt
@@ -0,0 +1 @@
+control
"""


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
        judge = Judge(instance, patch, digest, key, facts)
        if not patch.strip():
            return judge(Verdict.EMPTY_PATCH, "the patch is empty"), b""
        return self._grade_in_sandbox(judge, plan, image)

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

    def _grade_in_sandbox(self, judge: Judge, plan: EvalPlan, image: str) -> tuple[Grade, bytes]:
        for tries in range(1, self._options.tries + 1):
            run = self._evaluate(judge, plan, image)
            if not run.failure:
                grade = judge.grade(run, plan).model_copy(update={"tries": tries})
                if self._cache:
                    self._cache.put(grade, run.log())
                return grade, run.log()
        control = replace(judge, patch=_CONTROL_PATCH)
        if run.started and not self._evaluate(control, plan, image).failure:
            # Otherwise a patch that breaks its sandbox would not count as unresolved.
            reason = f"the patch breaks its sandbox, which works without it: {run.failure}"
            return judge(Verdict.UNRESOLVED, reason, timing=run.timing, tries=tries), run.log()
        instance, patch = judge.instance, judge.patch
        refused = self.refuse(instance, patch, run.failure, digest=judge.digest, tries=tries)
        return refused, run.log()

    def _evaluate(self, judge: Judge, plan: EvalPlan, image: str) -> Evaluation:
        run = Evaluation()
        try:
            self._run(run, judge, plan, image)
        except SandboxFailure as error:
            run.broken = f"{type(error).__name__}: {error}"
        return run

    def _run(self, run: Evaluation, judge: Judge, plan: EvalPlan, image: str) -> None:
        options, began = self._options, time.monotonic()
        with self._provider.start(image, limits=options.limits, owner=self._owner) as sandbox:
            started = time.monotonic()
            run.started = True
            files, environment = self._inputs(judge, plan)
            run.prepared = sandbox.exec(
                ["bash", "-c", UNPACK_AND_PREPARE],
                timeout=options.prepare_timeout,
                env=INSTALL_ENVIRONMENT,
                stdin=pack(files),
            )
            prepared = time.monotonic()
            if run.prepared.exit_code == 0:
                watcher = OutputWatcher(judge.instance, plan)
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

    def _inputs(self, judge: Judge, plan: EvalPlan) -> tuple[dict[str, bytes], dict[str, str]]:
        """The files that an evaluation needs, and the environment of its test command."""
        files = {
            "model.patch": _with_newline(judge.patch),
            "test.patch": plan.test_patch.encode(),
            "prepare.sh": prepare_script(judge.instance, plan, judge.facts).encode(),
        }
        environment: dict[str, str] = {}
        if self._options.early_exit and (environment := plugin_environment(plan, FOLDER)):
            files |= plugin_files(judge.instance)
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
