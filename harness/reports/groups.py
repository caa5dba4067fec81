"""pass@1 of parts of the suite: repositories, difficulties, categories, and without each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.reports.estimates import Estimate, rate_estimate
from harness.reports.run import Run
from harness.reports.text import line
from harness.scoring import Group, Scores


@dataclass(frozen=True)
class GroupCell:
    """One run's result on one part."""

    estimate: Estimate
    counts: str


@dataclass(frozen=True)
class GroupRow:
    """One part of the suite, run by run; None where a run has no graded attempt in it."""

    name: str
    instances: int
    cells: tuple[GroupCell | None, ...]


@dataclass(frozen=True)
class GroupTable:
    """All parts of one kind."""

    title: str
    head: str
    caption: str
    rows: tuple[GroupRow, ...]
    reference: bool


def group_tables(runs: Sequence[Run]) -> list[GroupTable]:
    """Tables of the runs that have scores; kinds that no run has are left out."""
    tables = [
        _table(runs, "By repository", "", "", lambda scores: scores.by_repository),
        _table(
            runs,
            "By difficulty",
            "",
            "As the suite's authors judged it.",
            lambda scores: scores.by_difficulty,
        ),
        *_categories(runs),
        _table(
            runs,
            "Leave one repository out",
            "Without",
            "All instances but those of the named repository. The dashed line is all of them.",
            lambda scores: scores.without_repository,
            reference=True,
        ),
    ]
    return [table for table in tables if table.rows]


def _categories(runs: Sequence[Run]) -> Iterator[GroupTable]:
    names = dict.fromkeys(n for run in runs if run.scores for n in run.scores.by_category)
    for name in names:

        def select(scores: Scores, name: str = name) -> Sequence[Group]:
            return scores.by_category.get(name, ())

        yield _table(runs, f"By {line(name)}", "", "", select)


def _table(
    runs: Sequence[Run],
    title: str,
    head: str,
    caption: str,
    select: Callable[[Scores], Sequence[Group]],
    *,
    reference: bool = False,
) -> GroupTable:
    by_run = [
        {group.name: group for group in select(run.scores)} if run.scores else {} for run in runs
    ]
    names = dict.fromkeys(name for groups in by_run for name in groups)
    return GroupTable(
        title=title,
        head=head or title.removeprefix("By ").capitalize(),
        caption=caption,
        rows=tuple(
            GroupRow(
                name=line(name),
                instances=max(groups[name].instances for groups in by_run if name in groups),
                cells=tuple(_cell(groups.get(name)) for groups in by_run),
            )
            for name in names
        ),
        reference=reference,
    )


def _cell(group: Group | None) -> GroupCell | None:
    shown = rate_estimate(group.pass_at_1) if group else None
    if not group or not shown:
        return None
    return GroupCell(shown, f"{group.resolved} / {group.attempts}")
