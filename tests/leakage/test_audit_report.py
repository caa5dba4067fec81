"""The audit's page: complete in itself, escaped, deterministic; figures of any shape."""

import json
import re
from pathlib import Path

import pytest

from harness.leakage.findings import Audit, Check, Finding, Severity, Status
from harness.leakage.report import render, write_audit
from harness.reports.figures import ROWS_SHOWN, blocks
from harness.scoring import Interval

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e"
INTERVAL = Interval(value=0.06, low=0.01, high=0.1, level=0.95, n=100, method="bootstrap")


def made(**figures: object) -> Audit:
    findings = [
        Finding(severity=severity, title=f"{severity} {HOSTILE}", where=HOSTILE, **text)
        for severity in (Severity.NOTE, Severity.LEAK)
        for text in ({"evidence": HOSTILE, "reproduce": HOSTILE},)
    ]
    checks = (
        Check(
            name="first",
            question=HOSTILE,
            status=Status.FAILED,
            reason=HOSTILE,
            findings=tuple(findings),
            figures={"text": HOSTILE, **figures},
        ),
        Check(name="second", question="?", status=Status.NOT_RUN, reason="not given: runs"),
    )
    return Audit(inputs={"evaluation": HOSTILE}, checks=checks)


def test_hostile_text_neither_acts_nor_hides() -> None:
    page = render(made(table=[{HOSTILE: HOSTILE}], list=[HOSTILE]), title=HOSTILE)
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert page.count("&lt;script&gt;alert(1)") > 8
    assert "⟨U+202E⟩" in page


def test_the_page_loads_nothing() -> None:
    page = render(made(), title="Audit")
    assert "default-src 'none'; style-src 'sha256-" in page
    assert re.findall(r'(?:src|href)="(?!#|data:)', page) == []
    assert "@import" not in page
    assert "url(" not in page


def test_leaks_come_first_and_what_was_not_run_has_no_section() -> None:
    page = render(made(), title="Audit")
    section = page.partition('id="first"')[2]
    assert section.index("leak &lt;script") < section.index("note &lt;script")
    assert 'id="first"' in page
    assert 'id="second"' not in page
    assert "Not run: second." in page


def test_the_same_audit_gives_the_same_bytes(tmp_path: Path) -> None:
    audit = made(rate=INTERVAL.model_dump())
    page = write_audit(audit, tmp_path / "a", title="Audit")
    assert write_audit(audit, tmp_path / "b", title="Audit").read_bytes() == page.read_bytes()
    assert Audit.model_validate_json((tmp_path / "a" / "audit.json").read_bytes()) == audit
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["audit.json", "index.html"]


def test_figures_of_any_shape_are_shown() -> None:
    shown = blocks(
        {
            "count": 1234,
            "share": 0.25,
            "none": None,
            "names": ["a", "b"],
            "nobody": [],
            "rate": INTERVAL.model_dump(),
            "rows": [{"run": "a", "difference": INTERVAL.model_dump()}, {"run": "b", "more": [1]}],
            "by_rule": {"path": 3},
            "nested": {"a": {"n": 1}, "b": {"n": 2}},
            "odd": [1, {"a": 2}],
        }
    )
    facts = dict(shown.facts)
    assert facts["count"] == "1,234"
    assert facts["rate"] == "6.0% [1.0% to 10.0%]"
    assert facts["odd"] == '[1, {"a": 2}]'
    assert shown.lists == (("names", ("a", "b")),)
    rows, by_rule, nested = shown.tables
    assert rows.heads == ("run", "difference", "more")
    assert rows.rows[0][1].text == "+6.0 [+1.0 to +10.0]"
    assert rows.rows[0][1].axis == rows.rows[0][1].axis
    assert rows.rows[1][1].text == "–"
    assert by_rule.rows[0][0].text == "path"
    assert nested.heads == ("", "n")
    json.dumps([facts, rows.heads])


@pytest.mark.parametrize("number", [ROWS_SHOWN, ROWS_SHOWN + 7])
def test_long_tables_are_cut_and_say_so(number: int) -> None:
    (table,) = blocks({"rows": [{"n": n} for n in range(number)]}).tables
    assert len(table.rows) == ROWS_SHOWN
    assert table.left_out == number - ROWS_SHOWN
    page = render(made(rows=[{"n": n} for n in range(number)]), title="Audit")
    assert ("7 more rows are in audit.json" in page) == (number > ROWS_SHOWN)
