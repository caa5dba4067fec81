"""Tables of what became of the attempts, and of what went wrong apart from them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.reports.plots import shares
from harness.reports.rows import LABELS, stop_reason
from harness.reports.run import Entry, Run, Status
from harness.reports.text import line


@dataclass(frozen=True)
class Key:
    """A column of an outcome table."""

    label: str
    tone: str


@dataclass(frozen=True)
class OutcomeRow:
    """How often each outcome happened in one run."""

    name: str
    counts: tuple[int, ...]
    total: int
    shares: tuple[tuple[float, float], ...]
    label: str


@dataclass(frozen=True)
class Outcomes:
    """A table of counts, one row per run."""

    title: str
    caption: str
    keys: tuple[Key, ...]
    rows: tuple[OutcomeRow, ...]
    bars: bool
    files: tuple[str, ...]


def outcome_tables(runs: Sequence[Run]) -> list[Outcomes]:
    """Attempts by verdict and by stop reason, counted from the files of each attempt."""
    present = {entry.status for run in runs for entry in run.entries.values()}
    verdicts = [status for status in Status if status in present]
    stops = sorted({stop_reason(entry) for run in runs for entry in run.entries.values()})
    return [
        _count(
            runs,
            "Verdicts",
            "Attempts by verdict. Every expected attempt is in exactly one column.",
            {status.value: Key(LABELS[status], status.value) for status in verdicts},
            lambda entry: entry.status.value,
            "grades/*/*/grade.json",
        ),
        _count(
            runs,
            "Stop reasons",
            "Why rollouts ended; “none” is an attempt that has no readable attempt.json.",
            {stop: Key(stop.replace("_", " "), "") for stop in stops},
            stop_reason,
            "attempts/*/*/attempt.json",
        ),
    ]


def _count(
    runs: Sequence[Run],
    title: str,
    caption: str,
    keys: dict[str, Key],
    classify: Callable[[Entry], str],
    file: str,
) -> Outcomes:
    rows = []
    for run in runs:
        counted = Counter(map(classify, run.entries.values()))
        counts = tuple(counted[key] for key in keys)
        parts = (f"{n} {key.label}" for n, key in zip(counts, keys.values(), strict=True) if n)
        rows.append(
            OutcomeRow(
                name=line(run.name),
                counts=counts,
                total=sum(counts),
                shares=tuple(shares(counts)),
                label=f"{line(run.name)}: {', '.join(parts)}",
            )
        )
    return Outcomes(
        title=title,
        caption=caption,
        keys=tuple(keys.values()),
        rows=tuple(rows),
        bars=any(key.tone for key in keys.values()),
        files=tuple(f"{run.folder.root.name}/{file}" for run in runs),
    )


@dataclass(frozen=True)
class Trouble:
    """One attempt that the environment failed."""

    run: str
    instance: str
    seed: int
    tries: int
    reason: str
    address: str


def infrastructure(runs: Sequence[Run]) -> Iterator[Trouble]:
    """Attempts that ended in an infrastructure failure."""
    for index, run in enumerate(runs):
        for entry in run.entries.values():
            if not entry.infrastructure:
                continue
            attempt, grade = entry.attempt, entry.grade
            yield Trouble(
                run=line(run.name),
                instance=entry.instance_id,
                seed=entry.seed,
                tries=max(record.tries for record in (attempt, grade) if record),
                reason=line((grade.reason if grade else "") or (attempt.detail if attempt else "")),
                address=f"{index}/{entry.instance_id}/{entry.seed}",
            )


def problems(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """What could not be read, as (run, text)."""
    for run in runs:
        for problem in run.problems:
            yield line(run.name), line(problem)
        for entry in run.entries.values():
            for problem in entry.problems:
                where = f"{entry.instance_id}, seed {entry.seed}"
                yield line(run.name), line(f"{where}: {problem}")


REFUSED_CAP = 1000


def refused(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """What could not be run, as (runs, what, why), each once; at most `REFUSED_CAP` rows."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for run in runs:
        for what, why in run.refused:
            found.setdefault((line(what), line(why)), {})[line(run.name)] = None
    rows = [(", ".join(names), what, why) for (what, why), names in found.items()]
    if len(rows) > REFUSED_CAP:
        return [*rows[:REFUSED_CAP], ("", f"and {len(rows) - REFUSED_CAP:,} more", "")]
    return rows
