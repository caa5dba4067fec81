"""The PI-removed teacher: thresholds, and what the interval leaves open."""

from pathlib import Path

import pytest

from harness.leakage import teacher
from harness.leakage.findings import Check, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError
from harness.scoring.compare import NotPairedError
from tests.leakage.audit_inputs import instances, run, write_suite

SUITE = instances(100)
BASE = 20  # resolved by the base teacher


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation suite, and the runs made so far."""
    folder = tmp_path_factory.mktemp("teacher")
    write_suite(folder / "evaluation.jsonl", SUITE)
    return folder


def resolving(folder: Path, top: int) -> Path:
    """A run that resolves the first so many instances."""
    root = folder / f"resolves-{top}"
    return root if root.is_dir() else run(root, SUITE, lambda number: number < top)


def audited(folder: Path, **resolved: int) -> Check:
    runs = {role: resolving(folder, top) for role, top in resolved.items()}
    evaluation = str(folder / "evaluation.jsonl")
    return teacher.check(AuditInputs(evaluation=evaluation, teacher_runs=runs))


@pytest.mark.parametrize(
    ("removed", "status"),
    [
        (10, Status.PASSED),
        (20, Status.PASSED),
        (21, Status.PASSED),  # exactly 1.0
        (22, Status.INCONCLUSIVE),
        (23, Status.FAILED),  # exactly 3.0
        (60, Status.FAILED),
    ],
)
def test_the_thresholds_decide_by_the_point_estimate(
    folder: Path, removed: int, status: Status
) -> None:
    check = audited(folder, base=BASE, pi_removed=removed)
    assert check.status is status
    assert check.figures["gain_points"] == removed - BASE
    leaks = [one for one in check.findings if one.severity is Severity.LEAK]
    assert len(leaks) == (status is Status.FAILED)


@pytest.mark.parametrize(
    ("removed", "says"),
    [
        (5, "within the passing side"),
        (20, "interval -3.7 to +3.7: it includes both a pass and a fail"),  # nothing differs
        (27, "excludes a pass, and includes a fail"),
        (60, "within the failing side"),
    ],
)
def test_the_reason_says_what_the_interval_leaves_open(
    folder: Path, removed: int, says: str
) -> None:
    assert says in audited(folder, base=BASE, pi_removed=removed).reason


def test_teachers_with_pi_are_reported_and_decide_nothing(folder: Path) -> None:
    check = audited(folder, base=20, pi_removed=20, deployable=28, oracle=60)
    assert check.status is Status.PASSED
    rows = {row["run"]: row for row in check.figures["teachers_against_base"]}
    assert rows["oracle"]["difference"]["value"] == pytest.approx(0.4)
    assert rows["oracle"]["p_exact_holm"] < 0.01


def test_without_both_runs_it_is_not_run(folder: Path) -> None:
    check = audited(folder, base=20)
    assert check.status is Status.NOT_RUN
    assert "teacher_runs.pi_removed" in check.reason


def test_runs_on_other_instances_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    base, evaluation = resolving(folder, BASE), str(folder / "evaluation.jsonl")
    fewer = run(tmp_path / "fewer", SUITE[1:])
    inputs = AuditInputs(evaluation=evaluation, teacher_runs={"base": base, "pi_removed": fewer})
    with pytest.raises(NotPairedError, match=SUITE[0].instance_id):
        teacher.check(inputs)
    strange = run(tmp_path / "strange", instances(3, first=200))
    inputs = AuditInputs(evaluation=evaluation, teacher_runs={"base": base, "pi_removed": strange})
    with pytest.raises(AuditError, match="not in the evaluation suite"):
        teacher.check(inputs)
    inputs = AuditInputs(evaluation=evaluation, teacher_runs={"bass": base})
    with pytest.raises(AuditError, match="unknown bass"):
        teacher.check(inputs)
