"""Controls with wrong PI: a gain fails, no gain passes only when the interval excludes one."""

from pathlib import Path

import pytest

from harness.leakage import controls
from harness.leakage.findings import Check, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError
from tests.leakage.audit_inputs import instances, run, write_suite

SUITE = instances(150)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation suite, and the runs made so far."""
    folder = tmp_path_factory.mktemp("controls")
    write_suite(folder / "evaluation.jsonl", SUITE)
    return folder


def audited(folder: Path, **resolved: int) -> Check:
    """The check on runs that resolve the first so many instances."""
    runs = {}
    for role, top in resolved.items():
        runs[role] = folder / f"resolves-{top}"
        if not runs[role].is_dir():
            run(runs[role], SUITE, lambda number, top=top: number < top)  # type: ignore[misc]
    evaluation = str(folder / "evaluation.jsonl")
    return controls.check(AuditInputs(evaluation=evaluation, control_runs=runs))


def test_the_pattern_of_the_paper_passes(folder: Path) -> None:
    check = audited(
        folder,
        off_the_shelf=24,
        method=40,
        shuffled_pi=15,
        wrong_repository=16,
        random_adapter=14,
        leave_one_repository_out=39,
    )
    assert check.status is Status.PASSED
    assert check.findings == ()
    rows = {row["run"]: row for row in check.figures["against_off_the_shelf"]}
    assert rows["shuffled_pi"]["difference"]["value"] == pytest.approx(-9 / 150)
    assert "exclude a gain" in check.reason


def test_a_control_that_gains_is_a_leak(folder: Path) -> None:
    check = audited(folder, off_the_shelf=24, method=40, shuffled_pi=15, random_adapter=39)
    assert check.status is Status.FAILED
    (leak,) = check.findings
    assert leak.severity is Severity.LEAK
    assert "random_adapter gains" in leak.title
    assert "shuffled_pi" not in leak.title


def test_a_gain_that_is_not_excluded_is_inconclusive(folder: Path) -> None:
    check = audited(folder, off_the_shelf=24, shuffled_pi=28)
    assert check.status is Status.INCONCLUSIVE
    assert "shuffled_pi includes gains of 3 points" in check.reason
    assert "not given: method, wrong_repository" in check.reason


def test_equal_results_of_few_instances_are_inconclusive(tmp_path: Path) -> None:
    few = SUITE[:20]
    evaluation = write_suite(tmp_path / "evaluation.jsonl", few)
    runs = {role: run(tmp_path / role, few) for role in ("off_the_shelf", "shuffled_pi")}
    check = controls.check(AuditInputs(evaluation=evaluation, control_runs=runs))
    assert check.status is Status.INCONCLUSIVE


def test_a_loss_without_the_repository_is_a_warning(folder: Path) -> None:
    check = audited(
        folder, off_the_shelf=24, method=40, shuffled_pi=15, leave_one_repository_out=24
    )
    assert check.status is Status.PASSED
    (warning,) = check.findings
    assert warning.severity is Severity.WARNING
    assert "left out" in warning.title


def test_without_a_reference_or_a_control_it_is_not_run(folder: Path) -> None:
    check = audited(folder, method=40, shuffled_pi=15)
    assert check.status is Status.NOT_RUN
    assert "control_runs.off_the_shelf" in check.reason
    assert audited(folder, off_the_shelf=24, method=40).status is Status.NOT_RUN


def test_an_unknown_role_is_refused(folder: Path) -> None:
    with pytest.raises(AuditError, match="unknown shuffled; known: off_the_shelf"):
        audited(folder, off_the_shelf=24, shuffled=15)
