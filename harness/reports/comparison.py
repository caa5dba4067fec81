"""Pairwise comparisons of the runs of one report."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.reports.estimates import Estimate, estimate, percent, points
from harness.reports.plots import Axis, difference_axis
from harness.reports.run import Run
from harness.reports.text import line
from harness.scoring import Comparison, Scored, scored
from harness.scoring.compare import NotPairedError, compare_family

ALL_PAIRS = 6  # with more runs than this, each is compared with the first only
NAMED = 200  # instances listed on each side of one pair


@dataclass(frozen=True)
class Side:
    """Instances that one method of a pair resolved more often."""

    name: str
    count: int
    instances: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two methods on the instances that are graded in both."""

    a: str
    b: str
    instances: int
    rate_a: str
    rate_b: str
    difference: Estimate
    better: tuple[Side, Side]
    tied: int
    p_exact: str
    p_bootstrap: str
    exact_test: str
    says: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparisons:
    """Every pair, or the reason that there is none."""

    pairs: tuple[Pair, ...] = ()
    axis: Axis | None = None
    level: str = ""
    refused: str = ""


def comparisons(runs: Sequence[Run]) -> Comparisons | None:
    """Compare runs by `harness.scoring`; None when there is only one run."""
    if len(runs) < 2:
        return None
    try:
        family = compare_family(
            {run.name: _rows(run) for run in runs},
            baseline=runs[0].name if len(runs) > ALL_PAIRS else None,
            common_only=True,
        )
    except NotPairedError as error:
        return Comparisons(refused=f"Not compared: {line(str(error))}.")
    bounds = [bound for one in family for bound in (one.difference.low, one.difference.high)]
    return Comparisons(
        pairs=tuple(_pair(one) for one in family),
        axis=difference_axis(bounds),
        level=f"{family[0].difference.level:.0%}",
    )


def _rows(run: Run) -> list[Scored]:
    return [
        scored(run.instances[entry.instance_id], entry.attempt, entry.grade)
        for entry in run.entries.values()
        if run.is_expected(entry) and entry.attempt and entry.grade
    ]


def _pair(one: Comparison) -> Pair:
    a, b = line(one.a), line(one.b)
    return Pair(
        a=a,
        b=b,
        instances=one.instances,
        rate_a=percent(one.pass_at_1_a.value),
        rate_b=percent(one.pass_at_1_b.value),
        difference=estimate(one.difference, points),
        better=(
            Side(a, len(one.better_in_a), one.better_in_a[:NAMED]),
            Side(b, len(one.better_in_b), one.better_in_b[:NAMED]),
        ),
        tied=one.tied,
        p_exact=_p(one.p_exact_holm),
        p_bootstrap=_p(one.p_bootstrap_holm),
        exact_test=one.exact_test,
        says=_says(one, a, b),
        notes=tuple(line(note) for note in one.notes),
    )


def _says(one: Comparison, a: str, b: str) -> str:
    """A difference counts as shown only when both adjusted tests agree."""
    if max(one.p_exact_holm, one.p_bootstrap_holm) > 1 - one.difference.level:
        return "no difference shown"
    return f"{b if one.difference.value > 0 else a} is better"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
