"""Official evaluation scripts taken apart."""

from typing import Any

import pytest

from harness.grading.eval_script import EvalScriptError, installs_work_tree, plan_evaluation
from harness.grading.official import known_parser
from harness.records import Instance
from tests.conftest import make_instance


def test_a_script_becomes_setup_patch_and_tests(instance: Instance) -> None:
    plan = plan_evaluation(instance)
    assert plan.setup == (
        "source /opt/miniconda3/bin/activate",
        "conda activate testbed",
        "cd /testbed",
        "git config --global --add safe.directory /testbed",
        "python -m pip install -e .",
    )
    assert plan.shell_state == plan.setup[:3]
    assert plan.test_patch == instance.test_patch
    assert plan.test_files == ("tests/test_a.py",)
    assert plan.tests == "pytest -rA tests/test_a.py"
    assert plan.runs_pytest


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("pytest", "markers"),
        (": '>>>>> Start Test Output'\n: '>>>>> End Test Output'\n", "no test"),
    ],
)
def test_an_unknown_shape_is_refused(script: str, said: str) -> None:
    with pytest.raises(EvalScriptError, match=said):
        plan_evaluation(make_instance(eval_script=script))


def test_every_real_script_is_understood(verified_rows: list[dict[str, Any]]) -> None:
    for row in verified_rows:
        instance = Instance.model_validate(row)
        plan = plan_evaluation(instance)
        assert plan.test_patch.strip() == instance.test_patch.strip()
        assert plan.shell_state[:3] == plan.setup[:3]
        assert not any("EOF_" in line or "git apply" in line for line in plan.setup)
        assert known_parser(str(instance.log_parser))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python -m pip install -e .", True),
        ("python -m pip install .", True),
        ("python -m pip install -e .[test] --verbose", True),
        ("python -m pip install -e '.[dev]'", True),
        ("python -m pip install -v --no-use-pep517 --no-build-isolation -e .", True),
        ("python setup.py install", True),
        ("python -m pip install -q 'pytest<7.2'", False),
        ("conda activate testbed", False),
    ],
)
def test_installs_of_the_work_tree_are_told_from_others(line: str, expected: bool) -> None:
    assert installs_work_tree(line) is expected
