"""The short summary says the same as the report."""

from pathlib import Path

from rich.console import Console

from harness.records import Verdict
from harness.reports import summary_markdown, summary_table
from tests.reports.report_builder import RunBuilder, make_instances


def test_the_terminal_table_has_the_headline_and_the_warnings(tmp_path: Path) -> None:
    gold = RunBuilder(tmp_path / "gold", "gold", make_instances(4))
    gold.everywhere(lambda _, __: Verdict.RESOLVED)
    part = RunBuilder(tmp_path / "part", "[red]mini", make_instances(2))
    part.attempt(part.instances[0])
    console = Console(width=160, record=True, force_terminal=False)
    console.print(summary_table([gold.folder, part.folder]))
    text = console.export_text()
    (row,) = [line for line in text.splitlines() if line.strip().startswith("gold")]
    assert row.split() == [
        "gold",
        "100.0%",
        "51.0%",
        "to",
        "100.0%",
        "4",
        "/",
        "4",
        "0",
        "4",
        "of",
        "4",
    ]
    assert "[red]mini" in text
    assert "1 of 2 attempts are made, 0 are graded" in text


def test_markdown_cannot_be_broken_by_a_name(tmp_path: Path) -> None:
    run = RunBuilder(
        tmp_path / "run", "a|b <img> [x](javascript:1)", make_instances(2), notes=("A note.",)
    )
    run.everywhere(lambda _, __: Verdict.UNRESOLVED)
    text = summary_markdown([run.folder])
    assert (
        "| a\\|b \\<img\\> \\[x\\](javascript:1) | 0.0% | 0.0% to 65.8% | 0 / 2 | 0 | 2 of 2 |"
        in text
    )
    assert "resolved 0 of 2 instances: 0.0%." in text
    assert "A note." in text
