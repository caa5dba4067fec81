"""The headline for terminals and for Markdown: the same numbers as in the HTML report."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from harness.records import RunFolder
from harness.reports.headline import Headline, headlines, warnings
from harness.reports.load import load_runs

COLUMNS = ("Method", "pass@1", "Interval", "Resolved", "Seeds", "Attempts")


def summary_table(runs: Sequence[RunFolder]) -> Table:
    """The headline as a rich table, warnings below it. Raises as `load_runs`."""
    loaded = load_runs(runs)
    table = Table(box=box.SIMPLE_HEAD, caption_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in ("pass@1", "Resolved") else "left")
    for row in headlines(loaded):
        table.add_row(*(Text(cell) for cell in _cells(row)))
    table.caption = Text("\n".join(warnings(loaded)))
    return table


def summary_markdown(runs: Sequence[RunFolder]) -> str:
    """The headline as a Markdown table, then the sentence and notes of each method.

    Raises as `load_runs`.
    """
    loaded = load_runs(runs)
    rows = headlines(loaded)
    lines = [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    lines += [_row(_cells(row)) for row in rows]
    lines += ["", *(f"- {_escape(' '.join((row.sentence, *row.notes)))}" for row in rows)]
    lines += ["", *(f"> {_escape(text)}" for text in warnings(loaded))]
    return "\n".join(lines).rstrip() + "\n"


def _cells(row: Headline) -> tuple[str, ...]:
    shown = row.estimate
    found = (shown.text, shown.range) if shown else ("no score", "")
    return (row.name, *found, row.resolved, row.seeds, row.progress)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _escape(text: str) -> str:
    """Text that Markdown shows as it is: no table cell ends, no tag or link begins."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return text
