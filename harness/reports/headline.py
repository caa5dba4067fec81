"""The headline: one row and one plain sentence per method, and what to be careful about."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.reports.card import notes
from harness.reports.estimates import (
    Estimate,
    count,
    estimate,
    number,
    percent,
    rate_estimate,
    whole_percent,
)
from harness.reports.plots import rate_axis
from harness.reports.run import Run
from harness.reports.text import line
from harness.scoring import Interval, Scores


@dataclass(frozen=True)
class Headline:
    """What one run says, in digits and in words."""

    name: str
    title: str
    estimate: Estimate | None
    resolved: str
    seeds: str
    progress: str
    sentence: str
    notes: tuple[str, ...]


def headlines(runs: Sequence[Run]) -> list[Headline]:
    """One headline per run, from its `scores.json`; nothing is computed again."""
    return [_headline(run) for run in runs]


def headline_context(runs: Sequence[Run]) -> dict[str, Any]:
    """What the page's first part shows."""
    rows = headlines(runs)
    return {
        "warnings": list(warnings(runs)),
        "headline": rows,
        "rate_axis": rate_axis(row.estimate.high for row in rows if row.estimate),
        "whole_percent": whole_percent,
        "interval_rows": [_intervals(run) for run in runs if run.scores],
        "effort_rows": [_effort(run) for run in runs if run.scores],
        "pass_at_k": _pass_at_k(runs),
        "score_files": [run.label(run.folder.scores) for run in runs if run.scores],
    }


def warnings(runs: Sequence[Run]) -> Iterator[str]:
    """What makes a number provisional."""
    for run in runs:
        name = line(run.name)
        if run.refused:
            yield (
                f"{name}: {len(run.refused):,} of what was asked for could not be run and is in "
                "no number of this page; it is listed under “Refused”."
            )
        if not run.expected:
            yield f"{name}: which attempts there should be is not known, so all shown are counted."
        elif not run.complete:
            yield (
                f"{name} is not complete: {run.attempted} of {run.expected} attempts are made, "
                f"{run.graded} are graded. Its numbers will change."
            )
        if not run.scores:
            yield f"{name} has no scores yet: there is no readable scores.json in its folder."
            continue
        if run.scores.attempts != run.scored:
            yield (
                f"{name}: scores.json covers {run.scores.attempts} attempts, but {run.scored} "
                "with a verdict are in the run folder. The scores are of another moment."
            )
        ungraded = run.scores.ungraded
        if ungraded.infra_failures:
            yield (
                f"{name}: {count(len(ungraded.infra_failures), 'infrastructure failure')} left out "
                "of pass@1. Counting every attempt without a verdict as unresolved gives "
                f"{percent(ungraded.low)}, as resolved {percent(ungraded.high)}."
            )


def _headline(run: Run) -> Headline:
    scores = run.scores
    rate = scores.pass_at_1 if scores else None
    graded = scores.attempts - len(scores.ungraded.infra_failures) if scores else run.graded
    resolved = scores.resolved if scores else run.resolved
    caution = (f"{rate.note[0].upper()}{rate.note[1:]}.",) if rate and rate.note else ()
    return Headline(
        name=line(run.name),
        title=_title(run),
        estimate=rate_estimate(rate),
        resolved=f"{resolved} / {graded}",
        seeds=", ".join(map(str, run.seeds)),
        progress=f"{run.attempted} of {run.expected or len(run.entries)}",
        sentence=_sentence(run, scores, resolved, graded),
        notes=(*notes(run), *caution),
    )


def _title(run: Run) -> str:
    """The method's title and the models that answered."""
    method = run.config.get("method")
    title = str(method.get("title", "")) if isinstance(method, dict) else ""
    models = {entry.attempt.model or "" for entry in run.entries.values() if entry.attempt}
    return line(", ".join(filter(None, (title, *sorted(models)))))


def _sentence(run: Run, scores: Scores | None, resolved: int, graded: int) -> str:
    name, several = line(run.name), len(run.seeds) > 1
    what = "attempts" if several else "instances"
    if not scores or not scores.pass_at_1:
        return f"{name}: {resolved} of {graded} graded {what} resolved so far; there is no score."
    shown = scores.pass_at_1.interval
    by_seed = ", ".join(f"{scores.resolved_by_seed.get(seed, '–')}" for seed in run.seeds)
    across = f" on {count(scores.instances, 'instance')} (by seed: {by_seed})" if several else ""
    return (
        f"{name} resolved {resolved} of {graded} {what}{across}: {percent(shown.value)}. On "
        f"instances like these its rate plausibly lies between {percent(shown.low)} and "
        f"{percent(shown.high)} ({shown.level:.0%} interval, {shown.method})."
    )


@dataclass(frozen=True)
class EstimateRow:
    """A run's name and estimates, column by column."""

    name: str
    estimates: tuple[Estimate | None, ...]


def _intervals(run: Run) -> EstimateRow:
    """Bootstrap, Wilson and clustered bootstrap."""
    assert run.scores
    rate = run.scores.pass_at_1
    found = (rate.bootstrap, rate.wilson) if rate else (None, None)
    intervals = (*found, run.scores.pass_at_1_clustered)
    return EstimateRow(line(run.name), tuple(estimate(i) if i else None for i in intervals))


def _effort(run: Run) -> EstimateRow:
    """Mean generated tokens, model calls and seconds of an attempt."""
    assert run.scores
    means: tuple[Interval | None, ...] = (
        run.scores.generated_tokens,
        run.scores.turns,
        run.scores.seconds,
    )
    return EstimateRow(line(run.name), tuple(estimate(m, number) if m else None for m in means))


def _pass_at_k(runs: Sequence[Run]) -> dict[str, Any] | None:
    """pass@k for k > 1, or None when every instance has one attempt."""
    found = {run.name: {p.k: p.rate for p in run.scores.pass_at_k} for run in runs if run.scores}
    ks = sorted({k for rates in found.values() for k in rates})
    if ks in ([], [1]):
        return None
    return {
        "heads": [f"pass@{k}" for k in ks],
        "rows": [
            EstimateRow(line(name), tuple(rate_estimate(rates.get(k)) for k in ks))
            for name, rates in found.items()
        ],
    }
