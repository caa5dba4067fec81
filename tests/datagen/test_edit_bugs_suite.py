"""A suite of edits of a tiny package, built with real sandboxes."""

import gzip
import json
from pathlib import Path

import pytest

from harness.datagen import edit_bugs_trial
from harness.datagen.bugs import AuthoringError
from harness.datagen.edit_bugs_package import PackageYield
from harness.datagen.edit_bugs_suite import EditSuite, build_edit_suite, count_candidates
from harness.datagen.trial import run_tests
from harness.environments.process_images import build_process_image
from harness.environments.recipe import Recipe
from harness.grading.eval_script import plan_evaluation
from harness.records import Instance
from harness.sandboxes.process import ProcessProvider
from harness.suites.load import load_suite
from tests.datagen import small_package


class Built:
    """What a build made, and what another one needs."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.root = small_package.write_suite(folder)
        self.recipe: Recipe = small_package.recipe(self.cache)
        self.provider = ProcessProvider(self.cache / "sandboxes")
        self.result = self.build(self.root)

    def build(self, root: Path, **options: object) -> PackageYield:
        (result,) = build_edit_suite(
            root,
            recipes={(self.recipe.repo, self.recipe.version): self.recipe},
            provider=self.provider,
            cache=self.cache,
            **options,  # type: ignore[arg-type]
        )
        return result

    @property
    def rows(self) -> list[Instance]:
        return list(load_suite(str(self.root.with_name("small.jsonl.gz"))).instances)

    @property
    def journal(self) -> Path:
        (path,) = (self.cache / "edit-bugs").glob("*/tried.jsonl")
        return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(edit_bugs_trial, "LEAST_SECONDS", 1)
        return Built(tmp_path_factory.mktemp("built"))


def edits(built: Built) -> dict[str, str]:
    """The outcome of each edit, by the line that it makes."""
    found = {}
    for text in built.journal.read_text().splitlines():
        line = json.loads(text)
        data = small_package.PACKAGE.encode()
        edit = line["edit"]
        whole = (data[: edit["start"]] + edit["text"].encode() + data[edit["end"] :]).decode()
        changed = set(whole.splitlines()) - set(small_package.PACKAGE.splitlines())
        tried = edit_bugs_trial.Tried.model_validate(line["tried"])
        found[changed.pop().strip()] = tried.outcome
    return found


def test_every_edit_comes_to_what_its_tests_say(built: Built) -> None:
    found = edits(built)
    assert found["if value >= low:"] == "wide"  # of two test functions, one may fail
    assert found["if value <= low:"] == "survived"
    assert found["return max(value, high)"] == "wide"
    assert found["return items[1]"] == "wide"
    assert found["if not items:"] == "wide"
    assert found['left = left + len("x")'] == "hang"
    assert found["while left >= 0:"] == "seen"
    assert found["if value != 99:"] == "crash"
    assert found["return value and 2"] == "seen"
    assert not any("10 if" in line or "- 1" in line for line in found)


def test_the_yield_counts_them(built: Built) -> None:
    result, found = built.result, list(edits(built).values())
    assert result.tried == len(found)
    assert result.outcomes == {name: found.count(name) for name in sorted(found)} | result.outcomes
    assert result.outcomes["seen"] == len(result.bugs) == len(built.rows)
    assert result.tests == 11  # neither the skipped nor the broken one
    assert sum(result.operators["comparison"].values()) >= 6
    assert result.operators["boolean"] == {"wide": 1}


def test_a_row_hides_the_tests_that_show_its_edit(built: Built) -> None:
    (row,) = [one for one in built.rows if "value and 2" in one.patch]
    assert row.FAIL_TO_PASS == ("tests/test_pkg.py::test_guard",)
    assert row.PASS_TO_PASS == ("tests/test_pkg.py::test_guard_zero",)
    assert "-    return value and 2\n+    return value and 1\n" in row.patch
    added = [line for line in row.test_patch.splitlines() if line.startswith("+")]
    assert "+def test_guard():" in added
    assert not any("test_drain" in line for line in added)
    first, second, third = row.problem_statement.splitlines()
    assert (first, second) == ("AssertionError: …", "Seen when calling `guard`.")
    before, _, names = third.partition(": ")
    assert before == "The cause is in one of these functions of `pkg.py`"
    listed = [name.strip("`") for name in names.strip(".").split(", ")]
    assert "guard" in listed
    assert len(listed) == 4
    assert listed == sorted(listed, key=lambda name: small_package.PACKAGE.index(f"def {name}("))
    plan = plan_evaluation(row)
    assert plan.tests == (
        "pytest -rA tests/test_pkg.py::test_guard tests/test_pkg.py::test_guard_zero"
    )
    assert plan.test_files == ("tests/test_pkg.py",)


def test_a_rows_tests_fail_before_and_pass_after_its_patch(built: Built) -> None:
    row = next(one for one in built.rows if one.PASS_TO_PASS)
    image = str(build_process_image(row, built.recipe, built.cache, print))
    before = run_tests(row, image, built.provider, fixed=False)
    after = run_tests(row, image, built.provider, fixed=True)
    assert {before[test] for test in row.FAIL_TO_PASS} == {"FAILED"}
    assert {after[test] for test in (*row.FAIL_TO_PASS, *row.PASS_TO_PASS)} == {"PASSED"}
    assert {before[test] for test in row.PASS_TO_PASS} == {"PASSED"}


def test_a_second_start_tries_nothing_again_and_writes_the_same(built: Built) -> None:
    rows = built.root.with_name("small.jsonl.gz")
    before, journal = rows.read_bytes(), built.journal.read_bytes()
    lines = journal.splitlines(keepends=True)
    built.journal.write_bytes(b"".join(lines[1:])[:-20])  # one is missing, one was cut by a crash
    rows.unlink()
    built.build(built.root)
    assert rows.read_bytes() == before
    again = built.journal.read_bytes().splitlines(keepends=True)
    assert again[: len(lines) - 2] == lines[1:-1]
    assert len(again) == len(lines)


def test_a_limit_takes_the_first(built: Built, tmp_path: Path) -> None:
    result = built.build(small_package.write_suite(tmp_path), limit=2)
    assert [bug.instance_id for bug in result.bugs] == [row.instance_id for row in built.rows[:2]]


def test_what_is_refused_is_left_out(built: Built, tmp_path: Path) -> None:
    gone = built.rows[0].instance_id
    root = small_package.write_suite(tmp_path, refused={gone: "does not hold"})
    result = built.build(root)
    assert [bug.instance_id for bug in result.bugs] == [row.instance_id for row in built.rows[1:]]
    assert result.outcomes["refused"] == 1


def test_an_unknown_package_is_named(built: Built) -> None:
    with pytest.raises(AuthoringError, match=r"no owner/other, only owner/pkg"):
        build_edit_suite(
            built.root,
            recipes={},
            provider=built.provider,
            cache=built.cache,
            repos=("owner/other",),
        )


def test_a_dry_run_counts_functions_without_tests_too(built: Built) -> None:
    recipes = {(built.recipe.repo, built.recipe.version): built.recipe}
    counts = count_candidates(built.root, recipes=recipes, cache=built.cache)
    assert counts["owner/pkg"] > built.result.tried


def test_the_rows_are_small_and_say_how_they_are_graded(built: Built) -> None:
    content = gzip.decompress(built.root.with_name("small.jsonl.gz").read_bytes())
    first = json.loads(content.splitlines()[0])
    assert isinstance(first["FAIL_TO_PASS"], str)
    assert first["eval_type"] == "pass_and_fail"
    assert all(row.gradable and row.instance_id.startswith("owner__pkg-80") for row in built.rows)


def test_a_package_has_its_own_most_or_that_of_its_split() -> None:
    def suite(**most: int) -> EditSuite:
        return EditSuite.model_validate({**small_package.SUITE, "most_instances": most})

    assert suite(train=7).most_of("owner/pkg") == 7
    assert suite(**{"train": 7, "owner/pkg": 3}).most_of("owner/pkg") == 3
    with pytest.raises(AuthoringError, match="neither owner/pkg nor its split"):
        suite(test=1).most_of("owner/pkg")
