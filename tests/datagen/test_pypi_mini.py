"""The shipped suite, checked without building it."""

import hashlib
from collections import Counter

import pytest
from unidiff.patch import PatchSet

from harness.datagen.bugs import Bug, load_authored
from harness.environments.recipe import load_recipes, recipe_for
from harness.grading.eval_script import plan_evaluation
from harness.records import Instance
from harness.suites.load import load_suite
from harness.suites.manifests import load_manifest, manifests_root

NAME = "pypi-mini"
ROOT = manifests_root()
SUITE, BUGS = load_authored(ROOT / "suites" / NAME)
ROWS = {row.instance_id: row for row in load_suite(NAME).instances}
each_row = pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))


def test_it_is_large_enough_and_its_splits_share_no_package() -> None:
    manifest = load_manifest(NAME)
    repos = {split: {ROWS[one].repo for one in ids} for split, ids in manifest.splits.items()}
    assert set(manifest.ids) == set(ROWS)
    assert len(ROWS) >= 40
    assert len(repos["train"] | repos["test"]) >= 8
    assert not repos["train"] & repos["test"]
    assert {split: set(one) for split, one in SUITE.splits.items()} == repos
    assert min(Counter(row.repo for row in ROWS.values()).values()) >= 4


def test_the_packages_are_those_of_the_recipes() -> None:
    recipes = load_recipes(ROOT / "environments")
    pinned = {recipe_for(row, recipes).sdist for row in ROWS.values()}
    assert {(one.name, one.sha256) for one in pinned if one} == {
        (one.name, one.sha256) for one in load_manifest(NAME).packages
    }
    for row in ROWS.values():
        requirements = recipe_for(row, recipes).requirements
        assert requirements
        assert all("==" in line and "--hash=sha256:" in line for line in requirements)


def test_the_rows_are_those_that_were_authored() -> None:
    columns = ("instance_id", "repo", "difficulty", "problem_statement", "patch", "test_patch")
    assert [{name: getattr(one, name) for name in columns} for one in BUGS] == [
        {name: getattr(one, name) for name in columns} for one in ROWS.values()
    ]


def test_no_two_instances_are_alike() -> None:
    for column in ("base_commit", "image", "patch", "problem_statement"):
        values = Counter(getattr(row, column) for row in ROWS.values())
        assert values.most_common(1)[0][1] == 1, column
    digests = {hashlib.sha256(row.test_patch.encode()).hexdigest() for row in ROWS.values()}
    assert len(digests) == len(ROWS)


@each_row
def test_a_row_runs_the_files_of_its_test_patch(row: Instance) -> None:
    plan = plan_evaluation(row)
    assert plan.tests == f"pytest -rA {' '.join(plan.test_files)}"
    assert not plan.new_test_files
    assert plan.test_patch.strip() == row.test_patch.strip()
    tests = {*row.FAIL_TO_PASS, *row.PASS_TO_PASS}
    assert {test.partition("::")[0] for test in tests} <= set(plan.test_files)
    assert len(tests) == len(row.FAIL_TO_PASS) + len(row.PASS_TO_PASS)


@each_row
def test_the_tests_of_a_row_are_hidden_until_its_test_patch(row: Instance) -> None:
    shown = "".join(
        str(line) for file in PatchSet(row.test_patch) for hunk in file for line in hunk
    )
    for test in row.FAIL_TO_PASS:
        name = test.rpartition("::")[2] if "[" not in test else test.split("[")[0].split("::")[-1]
        assert f"def {name}(" in shown or "[" in test, test


@each_row
def test_a_statement_does_not_give_the_fix_away(row: Instance) -> None:
    statement = " ".join(row.problem_statement.split())
    for file in PatchSet(row.patch):
        for hunk in file:
            for line in hunk:
                text = " ".join(line.value.split())
                if line.is_added and len(text) >= 16:
                    assert text not in statement
    title, _, body = row.problem_statement.partition("\n\n")
    assert "\n" not in title
    assert "```" in body


@pytest.mark.parametrize("bug", BUGS, ids=[bug.instance_id for bug in BUGS])
def test_a_fix_is_code_and_its_tests_are_tests(bug: Bug) -> None:
    assert all(file.path.endswith(".py") for file in PatchSet(bug.patch))
    assert all("test" in file.path for file in PatchSet(bug.test_patch))
    assert not any("test" in file.path for file in PatchSet(bug.patch))
