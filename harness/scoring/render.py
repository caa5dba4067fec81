"""Tables for a terminal."""

from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from harness.scoring.plan import MAX_RUNS, Plan
from harness.scoring.records import Comparison, Interval, Scores


def percent(interval: Interval, *, signed: bool = False) -> str:
    """`11.8 [9.0, 14.8]`, in per cent."""
    sign = "+" if signed else ""
    value, low, high = (100 * one for one in (interval.value, interval.low, interval.high))
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def scores_table(scores: Scores) -> Table:
    """pass@1 of all instances and of every repository."""
    table = Table("", "instances", "resolved", "attempts", "pass@1 %, 95 % CI", box=None)
    if scores.pass_at_1:
        interval = scores.pass_at_1.interval
        row = (interval.n, scores.resolved, scores.attempts, percent(interval))
        table.add_row("all", *map(str, row), style="bold")
    for group in scores.by_repository:
        interval = group.pass_at_1.interval
        row = (group.instances, group.resolved, group.attempts, percent(interval))
        table.add_row(escape(group.name), *map(str, row))
    return table


def comparison_table(family: Iterable[Comparison]) -> Table:
    """One row per comparison: rates, difference, discordant instances and adjusted p-values."""
    table = Table(
        *("a", "b", "n", "pass@1 % of a", "pass@1 % of b", "difference, points"),
        *("better in a / b", "p bootstrap (Holm)", "p exact (Holm)"),
        box=None,
    )
    for one in family:
        table.add_row(
            escape(one.a),
            escape(one.b),
            str(one.instances),
            percent(one.pass_at_1_a),
            percent(one.pass_at_1_b),
            percent(one.difference, signed=True),
            f"{len(one.better_in_a)} / {len(one.better_in_b)}",
            f"{_p(one.p_bootstrap)} ({_p(one.p_bootstrap_holm)})",
            f"{_p(one.p_exact)} ({_p(one.p_exact_holm)})",
        )
    return table


def plan_table(plan: Plan) -> Table:
    """Runs needed for each number of instances."""
    table = Table(
        *("instances", "runs of each, paired", "runs of each, unpaired", "power of one paired run"),
        box=None,
    )
    for row in plan.rows:
        runs = (row.paired_runs, row.unpaired_runs)
        shown = (f"over {MAX_RUNS}" if one is None else str(one) for one in runs)
        table.add_row(str(row.instances), *shown, f"{row.power_of_one_run:.0%}")
    return table


def _p(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"
