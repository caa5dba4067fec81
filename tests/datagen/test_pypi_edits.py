"""The shipped suite, checked without building it."""

import re
from collections import Counter

from harness.datagen.bugs import load_record
from harness.datagen.edit_bugs_suite import EditSuite
from harness.grading.eval_script import plan_evaluation
from harness.suites.load import load_suite
from harness.suites.manifests import load_manifest, manifests_root

NAME = "pypi-edits"
MANIFEST = load_manifest(NAME)
ROWS = {row.instance_id: row for row in load_suite(NAME).instances}
SAMPLE = [ROWS[name] for name in sorted(ROWS)[::12]]
STATEMENT = re.compile(
    r"\w+:(?: [^\n]+)?\n"
    r"(?:Seen when calling `\w+`(?:, `\w+`){0,2}\.\n)?"
    r"The cause is in one of these functions of `([\w/]+\.py)`: (`[\w.]+`(?:, `[\w.]+`){1,3})\.\n"
)


def test_it_is_large_enough_and_splits_packages_as_pypi_mini_does() -> None:
    repos = {split: {ROWS[one].repo for one in ids} for split, ids in MANIFEST.splits.items()}
    mini = load_manifest("pypi-mini")
    of_mini = {row.instance_id: row.repo for row in load_suite("pypi-mini").instances}
    splits = {split: {of_mini[one] for one in ids} for split, ids in mini.splits.items()}
    assert repos["test"] == splits["test"]
    assert repos["train"] | repos["dev"] == splits["train"]
    assert repos["dev"] == {"python-humanize/humanize", "tkem/cachetools"}
    assert len(MANIFEST.splits["test"]) >= 250
    assert len(MANIFEST.splits["train"]) + len(MANIFEST.splits["dev"]) >= 500
    assert {(one.name, one.sha256) for one in MANIFEST.packages} == {
        (one.name, one.sha256) for one in mini.packages
    }


def test_it_is_what_its_settings_ask_for() -> None:
    suite = load_record(manifests_root() / "suites" / NAME / "suite.yaml", EditSuite)
    counts = Counter(row.repo for row in ROWS.values())
    assert all(count <= suite.most_of(repo) for repo, count in counts.items())
    assert not set(suite.refused) & set(ROWS)


def test_no_two_instances_are_alike() -> None:
    for column in ("base_commit", "image", "patch"):
        values = Counter(getattr(row, column) for row in ROWS.values())
        assert values.most_common(1)[0][1] == 1, column


def test_a_statement_names_the_file_and_functions_and_no_test() -> None:
    for row in ROWS.values():
        found = STATEMENT.fullmatch(row.problem_statement)
        assert found, row.problem_statement
        assert f"+++ b/{found[1]}\n" in row.patch
        tests = {name.partition("[")[0].rpartition("::")[2] for name in row.FAIL_TO_PASS}
        assert not tests & set(re.findall(r"\w+", row.problem_statement)), row.instance_id


def test_a_patch_is_one_changed_line() -> None:
    for row in ROWS.values():
        lines = row.patch.splitlines()[3:]
        assert sum(line.startswith("+") for line in lines) == 1, row.instance_id
        assert sum(line.startswith("-") for line in lines) == 1, row.instance_id


def test_the_tests_that_fail_are_hidden_until_the_test_patch() -> None:
    for row in SAMPLE:
        for name in {one.partition("[")[0].rpartition("::")[2] for one in row.FAIL_TO_PASS}:
            assert re.search(rf"^\+\s*(async )?def {name}\(", row.test_patch, re.M), name


def test_an_evaluation_runs_the_listed_tests_alone() -> None:
    for row in SAMPLE:
        plan = plan_evaluation(row)
        tests = {one.partition("[")[0] for one in (*row.FAIL_TO_PASS, *row.PASS_TO_PASS)}
        assert plan.tests == f"pytest -rA {' '.join(sorted(tests))}"
        assert plan.runs_pytest
        assert plan.new_test_files == ()
        assert plan.test_patch.strip() == row.test_patch.strip()
        assert 1 <= len(row.FAIL_TO_PASS) <= 30 >= len(row.PASS_TO_PASS)
