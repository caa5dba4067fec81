"""What is still to be paid for before a pipeline is done: GPU-hours, disk, money, time."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from harness.pipeline.manifest import Assumption, Job
from harness.pipeline.state import Standing, State

_COLUMNS = ("jobs", "hours", "gpu_hours", "disk_gb", "dollars")
_GB = 1e9


def stage_costs(jobs: Sequence[Job], state: State) -> list[dict[str, Any]]:
    """What each stage will take for its jobs that are not done, and the hours that those done took.

    Hours are of wall clock, one job after another; of jobs that name none, CPU minutes count.
    """
    rows: dict[str, dict[str, Any]] = {}
    for job in jobs:
        empty = {"stage": job.stage, **dict.fromkeys(_COLUMNS, 0), "spent_hours": 0.0}
        row = rows.setdefault(job.stage, empty)
        done = state.done(job)
        if done is not None and state.standing(job) is not Standing.OPEN:
            row["spent_hours"] += done.seconds / 3600
            continue
        row["jobs"] += 1
        row["hours"] += minutes(job) / 60
        row["gpu_hours"] += job.takes.gpus * (job.takes.hours or 0)
        row["disk_gb"] += job.takes.disk_gb
        row["dollars"] += job.takes.dollars
    return list(rows.values())


def minutes(job: Job) -> float:
    """How long a job is expected to take; 0 where the manifest does not say."""
    return job.cpu_minutes or 0 if job.takes.hours is None else job.takes.hours * 60


def total(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The sums of all stages."""
    return {name: sum(row[name] for row in rows) for name in (*_COLUMNS, "spent_hours")}


def free_gb(out: Path) -> float:
    """Room on the disk of a folder that may not be there yet, in GB."""
    there = next(path for path in (out.resolve(), *out.resolve().parents) if path.exists())
    return shutil.disk_usage(there).free / _GB


def lacking_gb(rows: Sequence[Mapping[str, Any]], out: Path) -> float:
    """GB that the disk of `out` is short of what is planned; 0 where it has room."""
    return max(total(rows)["disk_gb"] - free_gb(out), 0)


def cost_table(rows: Sequence[Mapping[str, Any]], out: Path) -> Table:
    """The costs for a terminal: a row for each stage, and their sum."""
    whole = total(rows)
    table = Table(
        title="Still to be done, jobs one after another",
        caption=f"{whole['spent_hours']:.1f} hours spent; {free_gb(out):,.0f} GB free in {out}",
        show_footer=True,
    )
    table.add_column("stage", "in all")
    for name in _COLUMNS:
        table.add_column(_heading(name), _number(name, whole[name]), justify="right")
    for row in rows:
        table.add_row(row["stage"], *(_number(name, row[name]) for name in _COLUMNS))
    return table


def assumption_table(assumptions: Mapping[str, Assumption]) -> Table:
    """What the costs rest on."""
    table = Table(title="Assumed (change with --set NAME=VALUE)")
    table.add_column("name", overflow="fold")
    table.add_column("value", justify="right")
    table.add_column("what", overflow="fold")
    table.add_column("source", overflow="fold")
    for name, one in assumptions.items():
        table.add_row(name, f"{one.value:,g}", one.what, one.source)
    return table


def _heading(name: str) -> str:
    return {"gpu_hours": "GPU-hours", "disk_gb": "GB", "dollars": "$"}.get(name, name)


def _number(name: str, value: float) -> str:
    if name in ("jobs", "dollars") or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.05 or not value else "<0.1"
