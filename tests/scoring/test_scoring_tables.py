"""Tables for a terminal show the numbers of the records."""

from rich.console import Console
from rich.table import Table

from harness.scoring import compare_family, score
from harness.scoring.plan import plan
from harness.scoring.render import comparison_table, plan_table, scores_table
from tests.scoring.rows import run

OUTCOMES = [True] * 59 + [False] * 441


def shown(table: Table) -> list[list[str]]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines()]


def test_scores() -> None:
    lines = shown(scores_table(score(run(OUTCOMES, repos=2))))
    assert ["all", "500", "59", "500", "11.8", "[9.0,", "14.8]"] in lines
    assert sum(line[:1] in (["owner/r0"], ["owner/r1"]) for line in lines) == 2


def test_a_comparison() -> None:
    family = compare_family({"a": run(OUTCOMES), "b": run([True] * 500)})
    (line,) = [line for line in shown(comparison_table(family)) if line[2:3] == ["500"]]
    assert line[2:6] == ["500", "11.8", "[9.0,", "14.8]"]
    assert " ".join(line[-10:]) == (
        "+88.2 [+85.2, +91.0] 0 / 441 0.0002 (0.0002) <0.0001 (<0.0001)"
    )


def test_a_name_is_text_not_markup() -> None:
    table = comparison_table(compare_family({"[red]a": run([True]), "[/b": run([True])}))
    assert shown(table)[1][:3] == ["[red]a", "[/b", "1"]


def test_a_plan() -> None:
    lines = shown(plan_table(plan(0.03, 0.118, instances=(100, 500))))
    assert ["500", "3", "over", "100", "50%"] in lines
    assert ["100", "over", "100", "over", "100", "14%"] in lines
