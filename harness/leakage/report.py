"""Writes an audit's report: one HTML file, complete in itself, and `audit.json`."""

import base64
import hashlib
import os
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness import __version__
from harness.leakage.findings import Audit, Check, Finding, Severity, Status
from harness.reports.estimates import count
from harness.reports.figures import blocks
from harness.reports.text import line, plain

FINDINGS_SHOWN = 200  # of one check; all are in audit.json
STYLES = ("report.css", "figures.css", "audit.css")
LABELS = {
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.ERROR: "broke",
    Status.INCONCLUSIVE: "inconclusive",
    Status.NOT_RUN: "not run",
}
_ORDER = (Severity.LEAK, Severity.WARNING, Severity.NOTE)


def write_audit(audit: Audit, folder: Path, *, title: str) -> Path:
    """Write `audit.json` and `index.html` to a folder; the page's path. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "audit.json", audit.model_dump_json(indent=1) + "\n")
    _replace(folder / "index.html", render(audit, title=title))
    return folder / "index.html"


def headline(audit: Audit) -> str:
    """The result in one sentence: passed, or failed and by what."""
    by_status = {status: [c for c in audit.checks if c.status is status] for status in Status}
    ran = len(audit.checks) - len(by_status[Status.NOT_RUN])
    leaks = [f for c in audit.checks for f in c.findings if f.severity is Severity.LEAK]
    if audit.passed:
        text = f"Passed: {count(ran, 'check')} of {len(audit.checks)} ran and none found a leak."
    else:
        failed = [c.name for c in by_status[Status.FAILED]]
        broke = [c.name for c in by_status[Status.ERROR]]
        parts = [f"failed by {', '.join(failed)} ({count(len(leaks), 'leak')})"] if failed else []
        parts += [f"{', '.join(broke)} broke, so nothing is known there"] if broke else []
        text = f"Not passed: {'; '.join(parts)}."
    if by_status[Status.INCONCLUSIVE]:
        text += f" Inconclusive: {', '.join(c.name for c in by_status[Status.INCONCLUSIVE])}."
    if by_status[Status.NOT_RUN]:
        text += f" Not run: {', '.join(c.name for c in by_status[Status.NOT_RUN])}."
    return text


def render(audit: Audit, *, title: str) -> str:
    """The page. All text is escaped, and control characters are made visible."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("harness.leakage"), PackageLoader("harness.reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"line": line, "plain": plain}
    assert environment.loader
    style = "\n".join(environment.loader.get_source(environment, name)[0] for name in STYLES)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(
        "audit.html"
    ).render(
        title=title,
        version=__version__,
        style=Markup(style),  # noqa: S704
        style_hash=f"sha256-{digest}",
        passed=audit.passed,
        headline=headline(audit),
        leaks=[(c.name, f) for c in audit.checks for f in _sorted(c) if f.severity is _ORDER[0]],
        checks=audit.checks,
        labels=LABELS,
        counts={c.name: _counts(c) for c in audit.checks},
        findings={c.name: _sorted(c)[:FINDINGS_SHOWN] for c in audit.checks},
        figures={c.name: blocks(c.figures) for c in audit.checks},
        inputs=audit.inputs,
        shown=FINDINGS_SHOWN,
    )


def _sorted(check: Check) -> list[Finding]:
    return sorted(check.findings, key=lambda finding: _ORDER.index(finding.severity))


def _counts(check: Check) -> str:
    found = [(s, sum(f.severity is s for f in check.findings)) for s in _ORDER]
    return ", ".join(count(number, severity.value) for severity, number in found if number)


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8", errors="replace")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
