"""Rows of the instance table: every instance, every attempt."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import InstanceId
from harness.reports.run import Entry, Run, Status
from harness.reports.text import line

LABELS = {
    Status.RESOLVED: "resolved",
    Status.UNRESOLVED: "unresolved",
    Status.PATCH_FAILED: "patch refused",
    Status.EMPTY_PATCH: "empty patch",
    Status.TIMED_OUT: "timed out",
    Status.INFRA_FAILURE: "infrastructure",
    Status.UNGRADED: "no grade yet",
    Status.UNREADABLE: "unreadable",
    Status.NOT_RUN: "not run",
}
SYMBOLS = {
    Status.RESOLVED: "✓",
    Status.UNRESOLVED: "×",
    Status.PATCH_FAILED: "P",
    Status.EMPTY_PATCH: "∅",
    Status.TIMED_OUT: "T",
    Status.INFRA_FAILURE: "I",
    Status.UNGRADED: "?",
    Status.UNREADABLE: "!",
    Status.NOT_RUN: "·",
}


@dataclass(frozen=True)
class Mark:
    """One attempt in the instance table."""

    seed: int
    status: Status
    address: str
    label: str


@dataclass(frozen=True)
class Cell:
    """All attempts of one run on one instance."""

    marks: tuple[Mark, ...]
    statuses: str
    stops: str


@dataclass(frozen=True)
class InstanceRow:
    """One instance and its attempts, run by run."""

    id: InstanceId
    repository: str
    difficulty: str
    cells: tuple[Cell, ...]

    @property
    def first(self) -> str:
        """The address of the first attempt."""
        return next(mark.address for cell in self.cells for mark in cell.marks)


def instance_rows(runs: Sequence[Run]) -> list[InstanceRow]:
    """Every instance of any run, in the order of the runs' instances."""
    places: dict[InstanceId, list[list[Entry]]] = {}
    for index, run in enumerate(runs):
        for entry in run.entries.values():
            places.setdefault(entry.instance_id, [[] for _ in runs])[index].append(entry)
    rows = []
    for instance_id, by_run in places.items():
        instance = next(
            (r.instances[instance_id] for r in runs if instance_id in r.instances), None
        )
        rows.append(
            InstanceRow(
                id=instance_id,
                repository=instance.repo if instance else "unknown",
                difficulty=line(instance.difficulty or "") if instance else "",
                cells=tuple(
                    _cell(index, runs[index], entries) for index, entries in enumerate(by_run)
                ),
            )
        )
    return rows


def stop_reason(entry: Entry) -> str:
    """Why the rollout ended, or `none`."""
    return entry.attempt.stop_reason.value if entry.attempt else "none"


def _cell(index: int, run: Run, entries: Sequence[Entry]) -> Cell:
    marks = tuple(
        Mark(
            seed=entry.seed,
            status=entry.status,
            address=f"{index}/{entry.instance_id}/{entry.seed}",
            label=line(f"{run.name}, seed {entry.seed}: {LABELS[entry.status]}"),
        )
        for entry in sorted(entries, key=lambda entry: entry.seed)
    )
    return Cell(
        marks=marks,
        statuses=" ".join(dict.fromkeys(mark.status for mark in marks)),
        stops=" ".join(dict.fromkeys(stop_reason(entry) for entry in entries)),
    )
