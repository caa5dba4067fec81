"""What a pipeline would do, before it does."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from harness.pipeline.manifest import Job
from harness.pipeline.state import Standing, State


def plan_rows(jobs: Sequence[Job], out: Path) -> list[dict[str, Any]]:
    """One row for each job: where it stands, its command, CPU minutes (measured once done)."""
    state = State(out, jobs)
    rows = []
    for job in jobs:
        done = state.done(job)
        rows.append(
            {
                "job": job.name,
                "standing": str(state.standing(job)),
                "needs": list(job.needs),
                "command": list(job.command),
                "cpu_minutes_planned": job.cpu_minutes,
                "cpu_minutes": None if done is None else round(done.cpu_seconds / 60, 2),
                "takes": asdict(job.takes),
                "log": str(state.log(job)),
            }
        )
    return rows


def plan_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows for a terminal, with sums below."""
    counts = Counter(row["standing"] for row in rows)
    planned = sum(
        row["cpu_minutes_planned"] or 0 for row in rows if row["standing"] == Standing.OPEN
    )
    spent = sum(row["cpu_minutes"] or 0 for row in rows)
    unknown = sum(
        row["cpu_minutes_planned"] is None
        and row["takes"]["hours"] is None
        and row["standing"] == Standing.OPEN
        for row in rows
    )
    table = Table(
        caption=", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
        + f"; open: {planned:.0f} CPU minutes"
        + (f" and {unknown} jobs of unknown length" if unknown else "")
        + f"; spent: {spent:.1f}"
    )
    for heading in ("job", "standing", "needs", "CPU minutes"):
        table.add_column(heading, justify="right" if heading == "CPU minutes" else "left")
    for row in rows:
        measured, expected = row["cpu_minutes"], row["cpu_minutes_planned"]
        hours = row["takes"]["hours"]
        unmeasured = f"~{expected:g}" if expected else f"~{hours:.2g} h" if hours else "?"
        minutes = unmeasured if measured is None else f"{measured:.1f}"
        needs = Counter(name for name in row["needs"])
        shown = ", ".join(list(needs)[:2]) + (
            f" and {len(needs) - 2} more" if len(needs) > 2 else ""
        )
        table.add_row(row["job"], row["standing"], shown, minutes)
    return table
