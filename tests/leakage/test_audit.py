"""An audit as a whole: nothing fails silently, and bad input is told from a failed audit."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from harness.leakage.audit import CHECKS, audit, describe_inputs
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError
from harness.leakage.report import headline
from harness.suites import SuiteError
from tests.leakage.audit_inputs import instances, run, write_suite

SUITE = instances(4)
NONE = AuditInputs(evaluation="pypi-mini/test")


@pytest.fixture
def harness(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process; exit code, output, messages."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


Command = Callable[..., tuple[int, str, str]]


def silent(text: str) -> None:
    pass


def passing(inputs: AuditInputs) -> Check:
    return Check(name="passing", question="Is it?", status=Status.PASSED)


def broken(inputs: AuditInputs) -> Check:
    raise RuntimeError("disk on fire")


def absent(inputs: AuditInputs) -> Check:
    return Check(name="absent", question="?", status=Status.NOT_RUN, reason="not given: runs")


def failing(inputs: AuditInputs) -> Check:
    leak = Finding(severity=Severity.LEAK, title="a", where="b", evidence="c", reproduce="d")
    return Check(name="failing", question="?", status=Status.FAILED, findings=(leak,))


def test_every_check_runs_without_inputs_and_says_what_it_lacks() -> None:
    result = audit(NONE, silent)
    assert [one.name for one in result.checks] == list(CHECKS)
    for one in result.checks:
        assert one.status is Status.NOT_RUN, one
        assert one.reason, one.name
    assert result.passed


def test_a_check_that_breaks_fails_the_audit_and_stops_no_other() -> None:
    told: list[str] = []
    checks = {"broken": broken, "passing": passing}
    result = audit(NONE, told.append, checks=checks)
    assert not result.passed
    assert [one.status for one in result.checks] == [Status.ERROR, Status.PASSED]
    assert result.checks[0].reason == "RuntimeError: disk on fire"
    assert headline(result) == "Not passed: broken broke, so nothing is known there."
    assert told[0] == "[1/2] broken"


def test_a_check_under_another_name_is_an_error() -> None:
    (check,) = audit(NONE, silent, checks={"other": passing}).checks
    assert (check.name, check.status) == ("other", Status.ERROR)


def test_a_required_check_that_was_not_run_fails() -> None:
    checks = {"absent": absent, "passing": passing}
    assert audit(NONE, silent, checks=checks).passed
    result = audit(NONE, silent, checks=checks, require=["absent"])
    assert not result.passed
    assert result.checks[0].reason == "required, but not run: not given: runs"
    with pytest.raises(AuditError, match="no check named abssent"):
        audit(NONE, silent, checks=checks, require=["abssent"])


def test_the_headline_names_what_failed_and_what_is_open() -> None:
    checks = {"failing": failing, "absent": absent, "passing": passing}
    assert headline(audit(NONE, silent, checks=checks)) == (
        "Not passed: failed by failing (1 leak). Not run: absent."
    )
    assert headline(audit(NONE, silent, checks={"absent": absent, "passing": passing})) == (
        "Passed: 1 check of 2 ran and none found a leak. Not run: absent."
    )


def test_inputs_are_described_by_path_and_digest(tmp_path: Path) -> None:
    evaluation = write_suite(tmp_path / "evaluation.jsonl", SUITE)
    student = run(tmp_path / "student", SUITE)
    inputs = AuditInputs(evaluation=evaluation, train=evaluation, runs=(student,))
    before = describe_inputs(inputs)
    assert before["runs[0]"].startswith(f"{student} sha256:")
    assert describe_inputs(inputs) == before
    (student / "lock.json").write_text("{}")
    assert describe_inputs(inputs)["runs[0]"] != before["runs[0]"]


def test_an_input_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"runs\[0\]: .*nowhere does not exist"):
        audit(NONE.model_copy(update={"runs": (tmp_path / "nowhere",)}), silent)
    with pytest.raises(AuditError, match=r"teacher_runs.base: no run in"):
        audit(NONE.model_copy(update={"teacher_runs": {"base": tmp_path}}), silent)
    with pytest.raises(SuiteError, match="did you mean"):
        audit(AuditInputs(evaluation="pypi-min"), silent)


def test_exit_codes_of_the_command(tmp_path: Path, harness: Command) -> None:
    evaluation = write_suite(tmp_path / "evaluation.jsonl", SUITE)
    none = run(tmp_path / "none", SUITE)
    every = run(tmp_path / "every", SUITE, lambda number: True)
    config = tmp_path / "audit.yaml"
    config.write_text(
        yaml.safe_dump(
            {"evaluation": evaluation, "teacher_runs": {"base": str(none), "pi_removed": str(none)}}
        )
    )
    arguments = ["leakage", "audit", "--config", config, "--out", tmp_path / "out"]
    code, out, err = harness(*arguments)
    assert code == 0, err
    assert "Passed: 1 check" in out
    assert (tmp_path / "out" / "index.html").is_file()
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["schema_version"] == 1

    code, out, err = harness(
        *arguments, "--teacher", f"base={none}", "--teacher", f"pi_removed={every}"
    )
    assert code == 1
    assert "failed by pi_removed_teacher (1 leak)" in out

    code, out, err = harness(*arguments, "--require", "filter", "--json")
    assert code == 1
    checks = {one["name"]: one for one in json.loads(out)["checks"]}
    assert checks["filter"]["status"] == "failed"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("evaluation: nowhere.jsonl\ntrain: pypi-mini", "nowhere.jsonl"),
        ("trian: x", "unknown trian; did you mean 'train'"),
        ("train: pypi-mini", "name the evaluation suite"),
        ("- a", "expected keys and values"),
        ("evaluation: [1]\ntrain: pypi-mini", "evaluation: "),
        ("evaluation: pypi-mini\nruns: [nowhere]", "runs[0]: nowhere does not exist"),
        ("evaluation: pypi-mini", "nothing to audit"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, harness: Command, config: str, said: str
) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(config)
    code, _, err = harness("leakage", "audit", "--config", path, "--out", tmp_path / "out")
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
