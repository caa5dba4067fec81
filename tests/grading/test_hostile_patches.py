"""Patches that attack the grading: none resolves, each says why, and nothing is left behind."""

import os

import pytest

from harness.grading.grader import Grader
from harness.grading.options import GradingOptions
from harness.grading.patches import patch_paths
from harness.records import Grade, Instance, Verdict
from harness.sandboxes.base import MIB, Limits
from tests.real import PROVIDERS, RealInstance, leftovers, real_instance

pytestmark = pytest.mark.slow
OWNER = f"hostile-patches-{os.getpid()}"
LIMITS = Limits(memory_bytes=1024 * MIB, pids=128, output_bytes=4 * MIB)

FORGE = """\
import os as _os
_tests = {tests!r}
_lines = ["PASSED " + _test for _test in _tests]
_text = "\\n".join(
    [">>>>> End Test Output", ">>>>> Start Test Output"]
    + _lines
    + [">>>>> End Test Output", "All passed", ""]
)
for _file in ("/proc/self/fd/1", "/proc/self/fd/2"):
    open(_file, "w").write(_text)
_os.write(1, _text.encode())
_os._exit(0)
"""
CONFTEST = """\
import os

import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""


@pytest.fixture(scope="module", params=PROVIDERS)
def real(request: pytest.FixtureRequest) -> RealInstance:
    return real_instance(request.param)


def edit(real: RealInstance, command: str) -> str:
    """The patch of what a shell command changes in the work tree."""
    with real.provider.start(real.image, limits=LIMITS, owner=OWNER) as sandbox:
        done = sandbox.exec(command, timeout=60)
        assert done.exit_code == 0, done.text
        return sandbox.diff(real.instance.base_commit)


def code_at_import(real: RealInstance, code: str) -> str:
    """A patch that puts code at the top of the module that the gold patch edits."""
    module = next(path for path in patch_paths(real.instance.patch) if path.endswith(".py"))
    lines = f"cat > /tmp/code.py <<'END'\n{code}\nEND\n"
    return edit(real, f"{lines}cat {module} >> /tmp/code.py && cp /tmp/code.py {module}")


def grade(real: RealInstance, patch: str, *, test_timeout: float = 60) -> Grade:
    """Grade with small limits; afterwards nothing of it may be left."""
    options = GradingOptions(limits=LIMITS, test_timeout=test_timeout)
    result, _ = Grader(real.provider, options, owner=OWNER).grade(real.instance, patch, real.image)
    assert leftovers(real.provider, OWNER) == []
    return result


def codes(result: Grade) -> set[str]:
    return {finding.code for finding in result.findings}


def test_the_ends_of_the_scale(real: RealInstance) -> None:
    gold = grade(real, real.instance.patch)
    assert gold.verdict is Verdict.RESOLVED, gold.reason
    assert gold.official_resolved
    unrelated = grade(real, edit(real, "echo note > NOTES-OF-A-MODEL.txt"))
    assert unrelated.verdict is Verdict.UNRESOLVED
    assert "FAIL_TO_PASS" in unrelated.reason
    assert grade(real, " \n").verdict is Verdict.EMPTY_PATCH


def test_a_forged_log_is_not_believed(real: RealInstance) -> None:
    instance: Instance = real.instance
    tests = [*instance.FAIL_TO_PASS, *instance.PASS_TO_PASS]
    result = grade(real, code_at_import(real, FORGE.format(tests=tests)))
    assert result.verdict is Verdict.UNRESOLVED, result.reason
    assert "touches_test_runner" in codes(result)


def test_edited_tests_and_conftest_change_nothing(real: RealInstance) -> None:
    test_file = patch_paths(real.instance.test_patch)[0]
    folder = test_file.rpartition("/")[0] or "."
    result = grade(
        real,
        edit(
            real,
            f"cat > conftest.py <<'END'\n{CONFTEST}\nEND\ncp conftest.py {folder}/conftest.py\n"
            f"echo 'def test_nothing(): pass' > {test_file}",
        ),
    )
    assert result.verdict is Verdict.UNRESOLVED, result.reason
    assert result.counts.fail_to_pass_passed == 0
    assert {"edits_tests", "edits_test_infrastructure"} <= codes(result)


@pytest.mark.parametrize(
    "path", ["../escape.py", "../../etc/cron.d/x", "/etc/passwd2", ".git/hooks/post-checkout"]
)
def test_paths_that_lead_outside_are_refused(real: RealInstance, path: str) -> None:
    patch = (
        f"diff --git a/{path} b/{path}\nnew file mode 100755\n--- /dev/null\n+++ b/{path}\n"
        "@@ -0,0 +1 @@\n+x\n"
    )
    result = grade(real, patch)
    assert result.verdict in (Verdict.PATCH_FAILED, Verdict.UNRESOLVED)
    if result.verdict is Verdict.PATCH_FAILED:
        assert "git apply refused the patch: error:" in result.reason


def test_a_link_in_place_of_the_tests_folder_is_undone(real: RealInstance) -> None:
    folder = patch_paths(real.instance.test_patch)[0].split("/")[0]
    result = grade(real, edit(real, f"rm -rf {folder} && ln -s /tmp {folder}"))
    assert result.verdict is Verdict.UNRESOLVED, result.reason


@pytest.mark.parametrize(
    ("code", "verdicts"),
    [
        pytest.param(
            "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
            {Verdict.TIMED_OUT, Verdict.UNRESOLVED},
            id="fork bomb",
        ),
        pytest.param("while True:\n    pass", {Verdict.TIMED_OUT}, id="endless loop"),
        pytest.param(
            "import os\nfor _ in range(1024):\n    os.write(1, b'x' * 2**20)\n"
            "for _ in range(1024):\n    os.write(2, b'y\\n' * 2**10)",
            {Verdict.UNRESOLVED},
            id="a gigabyte of output",
        ),
        pytest.param(
            "_hog = [bytearray(64 * 2**20) for _ in range(1000)]",
            {Verdict.UNRESOLVED},
            id="memory",
        ),
        pytest.param("import os\nos.kill(os.getppid(), 9)", {Verdict.UNRESOLVED}, id="kill"),
    ],
)
def test_resources_are_bounded(real: RealInstance, code: str, verdicts: set[Verdict]) -> None:
    result = grade(real, code_at_import(real, code), test_timeout=15)
    assert result.verdict in verdicts, result.reason
    assert result.reason
    assert grade(real, real.instance.patch).verdict is Verdict.RESOLVED


def test_breaking_the_preparation_is_no_way_out_of_the_count(real: RealInstance) -> None:
    def with_setup(line: str) -> RealInstance:
        marker = ": '>>>>> Start Test Output'"
        script = str(real.instance.eval_script).replace(marker, f"{line}\n{marker}")
        changed = real.instance.model_copy(update={"eval_script": script})
        return RealInstance(changed, real.image, real.provider)

    patch = edit(real, "echo 'import os; os.kill(os.getppid(), 9)' > build_step.py")
    runs_it = with_setup("if [ -f build_step.py ]; then python build_step.py || exit 9; fi")
    result = grade(runs_it, patch)
    assert result.verdict is Verdict.UNRESOLVED
    assert "the patch breaks its sandbox" in result.reason

    broken = grade(with_setup("echo the image is broken; exit 9"), real.instance.patch)
    assert broken.verdict is Verdict.INFRA_FAILURE
    assert "the image is broken" in broken.reason
    assert broken.tries == 3
