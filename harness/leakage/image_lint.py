"""What `harness env lint --json` found, as a check of the audit."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from harness.environments.lint.findings import Finding as LintFinding
from harness.environments.lint.findings import LintReport, Rule
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError, evaluation_instances, not_run
from harness.records import Record

NAME = "image_lint"
QUESTION = "Does an image show its agent more than the base commit?"

_TITLES = {
    Rule.OTHER_COPY: "another copy of the package is in the image",
    Rule.GOLD_LINES: "lines that the gold patch adds are in the image",
    Rule.TEST_LINES: "lines that the test patch adds are in the image",
    Rule.EGRESS: "a sandbox of the image has a way out",
    Rule.WORK_TREE: "the work tree is not the base commit's",
}
_OTHER = "git shows, or may show, more than the base commit's past"
_FEWEST_SHOWN = 100
_EVIDENCE = 300


class LintResult(Record):
    """What `harness env lint --json` prints."""

    reports: tuple[LintReport, ...]
    missing: tuple[str, ...] = Field((), description="Instances without an image on the machine.")


def check(inputs: AuditInputs) -> Check:
    """Every error of the linter is a leak, every warning a warning.

    Passes only when each evaluation instance was looked at; else inconclusive. Raises AuditError
    when the file is not what the linter prints.
    """
    if inputs.lint is None:
        return not_run(NAME, QUESTION, "lint (harness env lint --json)")
    result = load(inputs.lint)
    wanted = evaluation_instances(inputs.evaluation).keys()
    seen = {report.instance_id for report in result.reports}
    unseen = sorted(wanted - seen)
    findings = [
        _finding(report, finding)
        for report in sorted(result.reports, key=lambda each: each.instance_id)
        for finding in report.findings
    ]
    findings.sort(key=lambda each: each.severity is not Severity.LEAK)
    leaks = sum(finding.severity is Severity.LEAK for finding in findings)
    bad = sum(bool(report.errors) for report in result.reports)
    status = Status.FAILED if leaks else Status.INCONCLUSIVE if unseen else Status.PASSED
    reason = f"{len(seen & wanted)} of {len(wanted)} images looked at, {bad} with errors"
    if unseen:
        reason += f"; not looked at: {', '.join(unseen[:3])}{' …' if len(unseen) > 3 else ''}"
    return Check(
        name=NAME,
        question=QUESTION,
        status=status,
        reason=reason,
        findings=tuple(findings[: max(_FEWEST_SHOWN, leaks)]),
        figures=_figures(result, unseen),
    )


def load(path: Path) -> LintResult:
    """Read what the linter printed. Raises AuditError."""
    try:
        return LintResult.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError) as error:
        first = (
            error.errors(include_url=False)[0]["msg"]
            if isinstance(error, ValidationError)
            else error
        )
        raise AuditError(
            f"{path} is not what `harness env lint --json` prints: {first}; make it again"
        ) from None


def _finding(report: LintReport, found: LintFinding) -> Finding:
    evidence = " ".join(part for part in (found.detail, found.object, found.line) if part)
    return Finding(
        severity=Severity.LEAK if found.severity == "error" else Severity.WARNING,
        title=f"{report.instance_id}: {_TITLES.get(found.rule, _OTHER)}",
        where=f"{report.image}:{found.path}",
        evidence=f"{found.rule.value}: {evidence}"[:_EVIDENCE],
        reproduce=found.reproduce or f"harness env lint -i {report.instance_id} --fresh",
    )


def _figures(result: LintResult, unseen: list[str]) -> dict[str, Any]:
    rules = Counter(
        (finding.rule.value, finding.severity)
        for report in result.reports
        for finding in report.findings
    )
    return {
        "images": len(result.reports),
        "images with errors": sum(bool(report.errors) for report in result.reports),
        "not looked at": unseen,
        "without an image": list(result.missing),
        "findings": [
            {"rule": rule, "severity": severity, "count": count}
            for (rule, severity), count in sorted(rules.items())
        ],
    }
