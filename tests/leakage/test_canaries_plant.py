"""A planted copy: every oracle field has its canary, and it runs and grades as the original."""

import dataclasses
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.leakage import app
from harness.grading.eval_script import plan_evaluation
from harness.grading.grader import Grader
from harness.grading.options import GradingOptions
from harness.leakage.canaries_plant import plant, summary, write_copy
from harness.leakage.ledger import (
    OPEN_FIELDS,
    ORACLE_FIELDS,
    How,
    Ledger,
    LedgerError,
    canary,
    prefix,
)
from harness.records import Instance, Verdict
from harness.suites.load import Suite, load_suite, rows_sha256
from tests.conftest import make_instance
from tests.real import PROVIDERS, real_instance

SEED = "ab" * 32


def suite_of(*instances: Instance) -> Suite:
    return dataclasses.replace(
        load_suite("pypi-mini/test"), instances=instances, sha256=rows_sha256(instances)
    )


def planted(instance: Instance) -> tuple[Instance, Ledger]:
    (copy,), ledger = plant(suite_of(instance), seed=SEED)
    return copy, ledger


def how(ledger: Ledger, field: str) -> How | None:
    return next((each.how for each in ledger.planted if each.field == field), None)


def test_every_column_of_an_instance_is_judged() -> None:
    assert ORACLE_FIELDS.keys() | OPEN_FIELDS.keys() == Instance.model_fields.keys()
    assert not ORACLE_FIELDS.keys() & OPEN_FIELDS.keys()


def test_fields_carry_their_canary_and_no_other_changes() -> None:
    instance = make_instance(hints_text="Try y.", image_assets={"patch": ["https://a/b.png"]})
    copy, ledger = planted(instance)
    for field in OPEN_FIELDS:
        assert getattr(copy, field) == getattr(instance, field)
    assert how(ledger, "patch") is How.PREAMBLE
    assert how(ledger, "test_patch") is How.COMMENT
    assert how(ledger, "FAIL_TO_PASS") is How.TEST_NAME
    assert how(ledger, "image_assets") is How.ASSET
    for each in ledger.planted:
        value = json.dumps(copy.model_dump(mode="json")[each.field])
        assert value.count(each.canary) == 1
    assert {each.field for each in ledger.unplanted} == {"PASS_TO_PASS"}
    assert ledger.carried_by(copy) == ledger.planted
    assert ledger.carried_by(instance) == ()


def test_renamed_tests_agree_wherever_they_are_named() -> None:
    copy, _ = planted(make_instance())
    name = f"test_new_{canary(SEED, copy.instance_id, 'FAIL_TO_PASS')}"
    assert list(copy.FAIL_TO_PASS) == [f"tests/test_a.py::{name}"]
    assert copy.PASS_TO_PASS == ("tests/test_a.py::test_old",)
    assert f"+def {name}():" in copy.test_patch
    assert copy.test_patch.strip() == plan_evaluation(copy).test_patch.strip()
    assert "pytest -rA tests/test_a.py" in plan_evaluation(copy).tests


@pytest.mark.parametrize(
    ("shape", "renamed"),
    [
        ("tests/test_a.py::TestX::test_new[a-b]", "tests/test_a.py::TestX::test_new_{}[a-b]"),
        ("tests/test_a.py::test_new[cut at a", "tests/test_a.py::test_new_{}[cut at a"),
        ("test_new (tests.test_a.TestX)", "test_new_{} (tests.test_a.TestX)"),
        (
            "test_new (tests.test_a.TestX.test_new)",
            "test_new_{0} (tests.test_a.TestX.test_new_{0})",
        ),
        ("test_new", "test_new_{}"),
        ("tests/test_new.py::test_new", "tests/test_new.py::test_new_{}"),
    ],
)
def test_ids_of_all_shapes_are_renamed(shape: str, renamed: str) -> None:
    copy, _ = planted(make_instance(FAIL_TO_PASS=[shape]))
    text = canary(SEED, copy.instance_id, "FAIL_TO_PASS")
    assert list(copy.FAIL_TO_PASS) == [renamed.format(text)]


@pytest.mark.parametrize(
    "changes",
    [
        {"FAIL_TO_PASS": ["tests/test_a.py::test_old"], "PASS_TO_PASS": []},  # there before
        {"problem_statement": "test_new fails"},
        {"PASS_TO_PASS": ["tests/test_b.py::test_new"]},  # another of the name
        {"PASS_TO_PASS": ["what test_new says: all of it"]},
        {"FAIL_TO_PASS": ["A sentence from a docstring (tests.A)"]},
    ],
)
def test_tests_that_others_name_keep_their_names(changes: dict[str, Any]) -> None:
    copy, ledger = planted(make_instance(**changes))
    assert copy.FAIL_TO_PASS == make_instance(**changes).FAIL_TO_PASS
    assert how(ledger, "FAIL_TO_PASS") is None


def test_canaries_are_unguessable_and_follow_from_the_seed() -> None:
    _, ledger = plant(load_suite("pypi-mini"), seed=SEED)
    texts = [each.canary for each in ledger.planted]
    assert len(set(texts)) == len(texts)
    assert all(re.fullmatch(r"q[a-z2-7]{25}", text) for text in texts)
    assert plant(load_suite("pypi-mini"), seed=SEED)[1] == ledger
    other = plant(load_suite("pypi-mini"), seed="cd" * 32)[1]
    assert not {each.canary for each in other.planted} & set(texts)
    assert prefix(SEED) != prefix("cd" * 32)


def test_rows_of_the_older_schema_can_be_planted() -> None:
    row = make_instance(eval_script=None, image=None, log_parser=None, eval_type=None)
    copy, ledger = planted(row)
    assert copy.eval_script is None
    assert how(ledger, "FAIL_TO_PASS") is How.TEST_NAME


def test_real_rows_keep_their_evaluation(verified_rows: list[dict[str, Any]]) -> None:
    rows = [Instance.model_validate(row) for row in verified_rows[::5]]
    copies, ledger = plant(suite_of(*rows), seed=SEED)
    for row, copy in zip(rows, copies, strict=True):
        before, after = plan_evaluation(row), plan_evaluation(copy)
        assert after.test_files == before.test_files
        assert after.new_test_files == before.new_test_files
        assert (after.tests, after.shell_state) == (before.tests, before.shell_state)
        assert after.test_patch.strip() == copy.test_patch.strip()
    counts = summary(ledger)
    assert counts["patch"]["comment"] > 0.8 * len(rows)
    assert counts["FAIL_TO_PASS"]["test_name"] > 0.5 * len(rows)


@pytest.mark.parametrize("kind", PROVIDERS)
def test_the_gold_patch_of_a_planted_row_is_resolved(kind: Any, tmp_path: Path) -> None:
    real = real_instance(kind)
    copy, ledger = planted(real.instance)
    assert how(ledger, "patch") is How.COMMENT
    assert how(ledger, "FAIL_TO_PASS") is How.TEST_NAME
    grader = Grader(real.provider, GradingOptions(), owner="test-plant", cache=None)
    grade, log = grader.grade(copy, copy.patch, real.image)
    assert grade.verdict is Verdict.RESOLVED, log.decode(errors="replace")[-2000:]
    assert canary(SEED, copy.instance_id, "FAIL_TO_PASS") in " ".join(grade.tests)
    worse, _ = grader.grade(
        copy, copy.patch.replace("\n+", "\n+raise SystemExit\n+", 1), real.image
    )
    assert worse.verdict is not Verdict.RESOLVED


def test_the_command_writes_rows_and_a_secret_ledger(tmp_path: Path) -> None:
    out = tmp_path / "planted"
    done = CliRunner().invoke(app, ["plant", "pypi-mini/test", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.output)
    ledger = Ledger.load(Path(shown["ledger"]))
    copy = load_suite(shown["rows"])
    assert not copy.refused
    assert copy.sha256 == ledger.planted_sha256
    assert sum(len(ledger.carried_by(each)) for each in copy.instances) == len(ledger.planted)
    assert (out / "ledger.json").stat().st_mode & 0o077 == 0
    assert set(shown["fields"]) == set(ORACLE_FIELDS)
    again = CliRunner().invoke(app, ["plant", "pypi-mini/test", "--out", str(out)])
    assert again.exit_code == 2
    assert "give another folder" in " ".join(again.output.split())


def test_a_seed_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="64 hex digits"):
        write_copy(load_suite("pypi-mini/test"), tmp_path, seed="secret")


def test_planted_patches_apply_to_git(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x\n")
    copy, _ = planted(make_instance())
    command = ["git", "apply", "--whitespace=fix", "-"]
    subprocess.run(command, cwd=tmp_path, input=copy.patch.encode(), check=True)
    assert (tmp_path / "a.py").read_text() == "y\n"
