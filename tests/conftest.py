"""Fixtures for all tests: a synthetic instance and, where present, real rows."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from harness.records import Instance

# A loaded machine is no reason to fail.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

REAL_ROWS = Path(__file__).resolve().parents[2] / "shared" / "data"
BASE = "0" * 40

EVAL_SCRIPT = f"""\
#!/bin/bash
set -uxo pipefail
source /opt/miniconda3/bin/activate
conda activate testbed
cd /testbed
git config --global --add safe.directory /testbed
cd /testbed
git status
git show
git -c core.fileMode=false diff {BASE}
source /opt/miniconda3/bin/activate
conda activate testbed
python -m pip install -e .
git checkout {BASE} tests/test_a.py
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_a.py b/tests/test_a.py
--- a/tests/test_a.py
+++ b/tests/test_a.py
@@ -1,2 +1,5 @@
 def test_old():
     assert True
+
+def test_new():
+    assert True

EOF_114329324912
: '>>>>> Start Test Output'
pytest -rA tests/test_a.py
: '>>>>> End Test Output'
git checkout {BASE} tests/test_a.py
"""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the Docker engine look at all it holds, so one worker runs them."""
    for item in items:
        if item.get_closest_marker("docker") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("docker"))


def make_instance(**changes: Any) -> Instance:
    """A small v5 row; `changes` replace columns."""
    row: dict[str, Any] = {
        "instance_id": "owner__pkg-1",
        "repo": "owner/pkg",
        "base_commit": BASE,
        "patch": "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+y\n",
        "test_patch": EVAL_SCRIPT.split("<<'EOF_114329324912'\n")[1].split("\nEOF_")[0] + "\n",
        "problem_statement": "a is x, not y",
        "version": "1.0",
        "FAIL_TO_PASS": ["tests/test_a.py::test_new"],
        "PASS_TO_PASS": ["tests/test_a.py::test_old"],
        "image": "sweb.eval.x86_64.owner_1776_pkg-1:latest",
        "eval_script": EVAL_SCRIPT,
        "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail",
    }
    return Instance.model_validate(row | changes)


@pytest.fixture
def instance() -> Instance:
    return make_instance()


def real_rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file of real data; the test is skipped where it is not at hand."""
    path = REAL_ROWS / name
    if not path.is_file():
        pytest.skip(f"{name} is not at hand beside the checkout")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="session")
def verified_rows() -> list[dict[str, Any]]:
    """The 500 rows of SWE-bench Verified, schema v5."""
    return real_rows("swebench_verified_v5.jsonl.gz")
