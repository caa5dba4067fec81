import hashlib
import json
from pathlib import Path

import pytest
import yaml

from harness.datagen.suite import BuiltInstance, build_suite
from harness.grading.eval_script import plan_evaluation
from harness.sandboxes.process import ProcessProvider
from harness.suites.load import load_suite
from harness.suites.manifest import SuiteManifest
from tests.datagen import authored
from tests.environments import fake_sdist as fake

UNRELATED = """\
diff --git a/tool.sh b/tool.sh
--- a/tool.sh
+++ b/tool.sh
@@ -1,2 +1,2 @@
 #!/bin/sh
-echo hello
+echo hi
"""
HIDES_ANOTHER_TEST = """\
diff --git a/tests/test_pkg.py b/tests/test_pkg.py
--- a/tests/test_pkg.py
+++ b/tests/test_pkg.py
@@ -1,5 +1,9 @@
 import pkg
 
 
+def test_old():
+    assert pkg
+
+
 def test_new():
     assert pkg.answer() == 42
"""


def build(root: Path, cache: Path) -> list[BuiltInstance]:
    recipe = authored.recipe(cache)
    return build_suite(
        root,
        recipes={(recipe.repo, recipe.version): recipe},
        provider=ProcessProvider(cache / "sandboxes"),
        cache=cache,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a built suite."""
    folder = tmp_path_factory.mktemp("built")
    root = authored.write(folder)
    (result,) = build(root, folder / "cache")
    assert result.problem == ""
    return root


def test_a_row_has_the_lists_that_its_tests_gave(built: Path) -> None:
    row = json.loads(built.with_name("small.jsonl").read_text())
    assert json.loads(row["FAIL_TO_PASS"]) == ["tests/test_pkg.py::test_new"]
    assert json.loads(row["PASS_TO_PASS"]) == ["tests/test_pkg.py::test_old"]
    assert row["base_commit"] == fake.BASE_COMMIT
    assert row["image"] == "swebench/sweb.eval.x86_64.owner_1776_pkg-90001:latest"


def test_the_suite_is_one_that_loads(built: Path) -> None:
    suite = load_suite(str(built.with_name("small.jsonl")))
    assert suite.refused == ()
    (instance,) = suite.instances
    plan = plan_evaluation(instance)
    assert plan.tests == "pytest -rA tests/test_pkg.py"
    assert plan.test_patch.strip() == fake.TEST_PATCH.strip()
    assert instance.gradable


def test_the_manifest_pins_rows_and_packages(built: Path) -> None:
    manifest = SuiteManifest.model_validate(
        yaml.safe_load(built.with_name("small.yaml").read_text())
    )
    rows = built.with_name("small.jsonl").read_bytes()
    assert manifest.sha256 == hashlib.sha256(rows).hexdigest()
    assert manifest.splits == {"train": (authored.ID,), "test": ()}
    assert [(one.name, one.licence) for one in manifest.packages] == [("pkg", "MIT")]


def test_building_again_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    root = authored.write(tmp_path)
    build(root, tmp_path / "cache")
    for name in ("small.jsonl", "small.yaml"):
        assert (root.parent / name).read_bytes() == (built.parent / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch": fake.PATCH.replace("42", "43")}, "patch cannot be reverted"),
        ({"patch": UNRELATED}, "no test fails before the fix"),
        ({"test_patch": fake.PATCH}, "both patches change pkg.py"),
        ({"test_patch": HIDES_ANOTHER_TEST}, "test_new of the base tree shows the bug"),
    ],
)
def test_a_bug_that_is_not_fit_is_reported_and_nothing_written(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    root = authored.write(tmp_path, authored.bug(**changes))
    (result,) = build(root, tmp_path / "cache")
    assert result.row is None
    assert said in result.problem
    assert not root.with_name("small.jsonl").exists()
