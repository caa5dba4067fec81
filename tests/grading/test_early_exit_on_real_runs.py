"""Early exit on real instances: the verdict of the whole run, and less of the run."""

import pytest

from harness.environments.images import build_all
from harness.grading.grader import Grader
from harness.grading.options import GradingOptions
from harness.records import Instance, Verdict
from harness.suites.load import load_suite
from tests.real import real_instance

pytestmark = pytest.mark.slow
NO_FIX = (
    "diff --git a/NOTES.txt b/NOTES.txt\nnew file mode 100644\n"
    "--- /dev/null\n+++ b/NOTES.txt\n@@ -0,0 +1 @@\n+nothing of use\n"
)


def one_of_each_package() -> list[Instance]:
    instances = load_suite("pypi-mini/test").instances
    return list({instance.repo: instance for instance in instances}.values())


@pytest.mark.parametrize("instance", one_of_each_package(), ids=lambda one: one.instance_id)
def test_stopping_early_changes_no_verdict(instance: Instance) -> None:
    provider = real_instance("process").provider
    (image,) = build_all([instance], kind="process", repos=None, force=False, on_progress=print)
    whole, early = (
        Grader(provider, GradingOptions(early_exit=early), owner="early-exit")
        for early in (False, True)
    )
    for patch, expected in ((instance.patch, Verdict.RESOLVED), (NO_FIX, Verdict.UNRESOLVED)):
        full, _ = whole.grade(instance, patch, image.image)
        stopped, _ = early.grade(instance, patch, image.image)
        assert full.verdict is stopped.verdict is expected, (full.reason, stopped.reason)
        assert full.official_resolved == stopped.official_resolved
        assert not full.stopped_early
        assert stopped.stopped_early == (expected is Verdict.UNRESOLVED)
        assert set(stopped.tests) <= set(full.tests)
        assert set(full.failed_tests) <= set(stopped.failed_tests)
