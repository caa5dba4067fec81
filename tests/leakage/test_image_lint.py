"""The image linter's results in an audit."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.environments.lint.findings import Finding, LintReport, Rule
from harness.environments.lint.lint import lint_image
from harness.leakage.findings import Severity, Status
from harness.leakage.image_lint import check
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError
from tests.conftest import make_instance
from tests.real import real_instance


def evaluated(folder: Path, *names: str) -> str:
    path = folder / "evaluation.jsonl"
    rows = [make_instance(instance_id=name).model_dump_json(exclude_unset=True) for name in names]
    path.write_text("".join(f"{row}\n" for row in rows))
    return str(path)


def report(name: str, *findings: Finding) -> LintReport:
    return LintReport(
        linter="1",
        instance_id=name,
        image=f"image-of-{name}",
        digest="sha256:0",
        findings=findings,
        seconds=0.1,
    )


def linted(folder: Path, *reports: LintReport, missing: tuple[str, ...] = ()) -> Path:
    path = folder / "lint.json"
    shown = [each.model_dump(mode="json") for each in reports]
    path.write_text(json.dumps({"reports": shown, "missing": list(missing)}))
    return path


COPY = Finding(
    rule=Rule.OTHER_COPY,
    severity="error",
    path="/usr/lib/python3/dist-packages/",
    detail="a copy of pkg 2.2 with 3 files that are not the base commit's (installed: 2.1)",
    object="pkg/a.py",
    reproduce="diff -r /testbed/pkg /usr/lib/python3/dist-packages/pkg",
)
OLDER = COPY.model_copy(update={"severity": "warning", "detail": "a copy of pkg 1.0"})


def test_a_fixed_copy_in_an_image_is_a_leak(tmp_path: Path) -> None:
    lint = linted(tmp_path, report("a__a-1"), report("a__a-2", OLDER, COPY))
    found = check(AuditInputs(evaluation=evaluated(tmp_path, "a__a-1", "a__a-2"), lint=lint))
    assert found.status is Status.FAILED
    first, second = found.findings
    assert (first.severity, second.severity) == (Severity.LEAK, Severity.WARNING)
    assert "another copy of the package" in first.title
    assert "a__a-2" in first.title
    assert first.where == "image-of-a__a-2:/usr/lib/python3/dist-packages/"
    assert "2.2" in first.evidence
    assert first.reproduce == COPY.reproduce
    assert found.figures["images with errors"] == 1


def test_clean_images_pass_when_all_were_looked_at(tmp_path: Path) -> None:
    lint = linted(tmp_path, report("a__a-1"), report("a__a-2", OLDER))
    known = evaluated(tmp_path, "a__a-1", "a__a-2")
    assert check(AuditInputs(evaluation=known, lint=lint)).status is Status.PASSED
    more = evaluated(tmp_path, "a__a-1", "a__a-2", "a__a-3")
    found = check(AuditInputs(evaluation=more, lint=lint))
    assert found.status is Status.INCONCLUSIVE
    assert "a__a-3" in found.reason


@pytest.mark.parametrize("content", ["", "[]", '{"reports": [{"linter": 1}]}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(AuditError, match="harness env lint --json"):
        check(AuditInputs(evaluation=evaluated(tmp_path, "a__a-1"), lint=path))


def test_without_a_file_it_is_not_run() -> None:
    assert check(AuditInputs(evaluation="x")).status is Status.NOT_RUN


def test_the_linters_own_report_is_understood(tmp_path: Path, monkeypatch: Any) -> None:
    real = real_instance("process")
    row = tmp_path / "row.jsonl"
    row.write_text(real.instance.model_dump_json(exclude_unset=True) + "\n")
    lint = linted(tmp_path, lint_image(real.instance, real.image, "process"))
    found = check(AuditInputs(evaluation=str(row), lint=lint))
    assert found.status is Status.PASSED, found.findings
