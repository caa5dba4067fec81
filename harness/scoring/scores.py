"""From graded attempts to a run's scores."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean

from harness.scoring.categories import NOT_STATED, label_order
from harness.scoring.intervals import bootstrap_mean, rate
from harness.scoring.pass_at_k import default_ks, pass_at_k
from harness.scoring.records import (
    DEFAULT,
    AttemptKey,
    Group,
    Interval,
    PassAtK,
    Rate,
    Resampling,
    Scores,
    Ungraded,
)
from harness.scoring.scored import Scored

Instances = Mapping[str, Sequence[Scored]]
"""Attempts by instance id."""

_ToRate = Callable[[Sequence[float]], Rate]


def score(
    rows: Iterable[Scored],
    *,
    expected: Iterable[tuple[str, int]] = (),
    how: Resampling = DEFAULT,
) -> Scores:
    """Score one run. `expected` is every (instance id, seed) that should be there: what is not
    among the rows is named as missing.

    Raises ValueError when an attempt is there twice.
    """
    ordered = sorted(rows, key=lambda row: (row.instance_id, row.seed))
    keys = unique_keys(ordered)
    missing = sorted(set(expected) - set(keys))
    graded = [row for row in ordered if row.graded]
    instances = by_instance(graded)
    to_rate = partial(rate, how=how)

    def mean(field: str) -> Interval | None:
        values = [fmean(getattr(row, field) for row in one) for one in instances.values()]
        return bootstrap_mean(values, how=how).interval if values else None

    repositories = [one[0].repo for one in instances.values()]
    shares = resolved_shares(instances)
    clustered = (
        bootstrap_mean(shares, clusters=repositories, how=how).interval
        if len(set(repositories)) > 1
        else None
    )
    names = dict.fromkeys(name for row in ordered for name in row.categories)
    return Scores(
        instances=len({one for one, _ in (*keys, *missing)}),
        seeds=tuple(sorted({one for _, one in (*keys, *missing)})),
        attempts=len(ordered),
        resolved=sum(row.resolved for row in graded),
        resolved_by_seed=_resolved_by_seed(graded),
        pass_at_1=to_rate(shares) if instances else None,
        pass_at_1_clustered=clustered,
        pass_at_k=_pass_at_ks(instances, to_rate),
        ungraded=_ungraded(ordered, missing),
        verdicts=dict(Counter(row.verdict for row in ordered)),
        stop_reasons=dict(Counter(row.stop_reason for row in ordered)),
        by_repository=_groups(graded, lambda row: row.repo, to_rate),
        by_difficulty=_groups(graded, lambda row: row.difficulty or NOT_STATED, to_rate)
        if any(row.difficulty for row in graded)
        else (),
        by_category={name: _groups(graded, partial(_category, name), to_rate) for name in names},
        without_repository=_without_each_repository(graded, to_rate),
        generated_tokens=mean("generated_tokens"),
        turns=mean("turns"),
        seconds=mean("seconds"),
        resampling=how,
    )


def by_instance(rows: Iterable[Scored]) -> Instances:
    """Rows by instance, in the order of the rows."""
    instances: dict[str, list[Scored]] = {}
    for row in rows:
        instances.setdefault(row.instance_id, []).append(row)
    return instances


def resolved_shares(instances: Instances) -> list[float]:
    """The share of attempts that resolved, for each instance."""
    return [sum(row.resolved for row in rows) / len(rows) for rows in instances.values()]


def unique_keys(rows: Sequence[Scored]) -> list[tuple[str, int]]:
    """Instance id and seed of every row. Raises ValueError when an attempt is there twice."""
    counts = Counter((row.instance_id, row.seed) for row in rows)
    twice = [f"{instance}, seed {seed}" for (instance, seed), count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"attempts that are there twice: {'; '.join(twice[:5])}")
    return list(counts)


def _resolved_by_seed(rows: Iterable[Scored]) -> dict[int, int]:
    counts: Counter[int] = Counter()
    for row in rows:
        counts[row.seed] += row.resolved
    return dict(sorted(counts.items()))


def _pass_at_ks(instances: Instances, to_rate: _ToRate) -> tuple[PassAtK, ...]:
    """pass@k over the instances that have at least k graded attempts."""
    counts = [(len(rows), sum(row.resolved for row in rows)) for rows in instances.values()]
    most = max((n for n, _ in counts), default=0)
    return tuple(
        PassAtK(k=k, rate=to_rate([pass_at_k(n, c, k) for n, c in counts if n >= k]))
        for k in default_ks(most)
    )


def _ungraded(rows: Sequence[Scored], missing: Sequence[tuple[str, int]]) -> Ungraded:
    outcomes: dict[str, list[bool | None]] = {}
    for row in rows:
        outcomes.setdefault(row.instance_id, []).append(row.resolved if row.graded else None)
    for instance, _ in missing:
        outcomes.setdefault(instance, []).append(None)

    def pass_at_1(unknown: bool) -> float:
        shares = [
            fmean(unknown if one is None else one for one in attempts)
            for attempts in outcomes.values()
        ]
        return fmean(shares) if shares else float(unknown)

    return Ungraded(
        infra_failures=tuple(
            AttemptKey(instance_id=row.instance_id, seed=row.seed) for row in rows if not row.graded
        ),
        missing=tuple(AttemptKey(instance_id=one, seed=seed) for one, seed in missing),
        low=pass_at_1(unknown=False),
        high=pass_at_1(unknown=True),
    )


def _group(name: str, rows: Sequence[Scored], to_rate: _ToRate) -> Group:
    instances = by_instance(rows)
    return Group(
        name=name,
        instances=len(instances),
        attempts=len(rows),
        resolved=sum(row.resolved for row in rows),
        pass_at_1=to_rate(resolved_shares(instances)),
    )


def _groups(
    rows: Sequence[Scored], label: Callable[[Scored], str], to_rate: _ToRate
) -> tuple[Group, ...]:
    labels = sorted({label(row) for row in rows}, key=label_order)
    return tuple(_group(one, [r for r in rows if label(r) == one], to_rate) for one in labels)


def _category(name: str, row: Scored) -> str:
    return row.categories.get(name, NOT_STATED)


def _without_each_repository(rows: Sequence[Scored], to_rate: _ToRate) -> tuple[Group, ...]:
    repositories = sorted({row.repo for row in rows})
    if len(repositories) < 2:
        return ()
    return tuple(
        _group(one, [row for row in rows if row.repo != one], to_rate) for one in repositories
    )
