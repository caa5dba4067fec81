"""Paired comparisons of runs on the same instances."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from harness.scoring.intervals import bootstrap_mean
from harness.scoring.records import DEFAULT, Comparison, Resampling
from harness.scoring.scored import Scored
from harness.scoring.scores import Instances, by_instance, resolved_shares, unique_keys

FEW_DISCORDANT = 25
FEW_CLUSTERS = 20


class NotPairedError(ValueError):
    """Two runs are not on the same instances."""


def compare(
    a: Iterable[Scored],
    b: Iterable[Scored],
    *,
    names: tuple[str, str] = ("a", "b"),
    common_only: bool = False,
    how: Resampling = DEFAULT,
) -> Comparison:
    """Compare two runs instance by instance; seeds are averaged within an instance first.

    The interval and `p_bootstrap` are of the paired bootstrap over instances. `p_exact` is
    McNemar's exact test when both runs have one attempt per instance, else the exact sign test
    over instances. Attempts that are infrastructure failures are left out, and so are instances
    that are then in one run only. Raises NotPairedError when an instance was attempted in one
    run only, unless `common_only`, and when no instance is left.
    Source: McNemar, Psychometrika 12 (1947); `statsmodels.stats.contingency_tables.mcnemar`.
    """
    rows_a, rows_b = sorted(a, key=_key), sorted(b, key=_key)
    for rows in (rows_a, rows_b):
        unique_keys(rows)
    attempted_a, attempted_b = ({row.instance_id for row in rows} for rows in (rows_a, rows_b))
    if attempted_a != attempted_b and not common_only:
        raise NotPairedError(_unpaired(names, attempted_a, attempted_b))
    graded_a, graded_b = (by_instance(r for r in rows if r.graded) for rows in (rows_a, rows_b))
    paired = sorted(graded_a.keys() & graded_b.keys())
    if not paired:
        raise NotPairedError(f"no instance is graded in both {names[0]} and {names[1]}")
    kept_a = {one: graded_a[one] for one in paired}
    kept_b = {one: graded_b[one] for one in paired}
    return _compare(
        kept_a,
        kept_b,
        names=names,
        left_out=tuple(sorted((attempted_a | attempted_b) - set(paired))),
        how=how,
    )


def compare_family(
    runs: Mapping[str, Sequence[Scored]],
    *,
    baseline: str | None = None,
    common_only: bool = False,
    how: Resampling = DEFAULT,
) -> tuple[Comparison, ...]:
    """Compare every run with the baseline, or every pair, with Holm–Bonferroni over the family.

    Raises NotPairedError, or ValueError when there are fewer than two runs or no such baseline.
    Source: Holm, Scandinavian Journal of Statistics 6 (1979); `statsmodels.stats.multitest`.
    """
    if len(runs) < 2:
        raise ValueError(f"a comparison needs two runs, found {len(runs)}")
    if baseline is not None and baseline not in runs:
        raise ValueError(f"the baseline {baseline!r} is none of the runs: {', '.join(runs)}")
    pairs = (
        list(combinations(runs, 2))
        if baseline is None
        else [(baseline, name) for name in runs if name != baseline]
    )
    family = [
        compare(runs[a], runs[b], names=(a, b), common_only=common_only, how=how) for a, b in pairs
    ]
    bootstrap = holm([one.p_bootstrap for one in family])
    exact = holm([one.p_exact for one in family])
    return tuple(
        one.model_copy(
            update={
                "family": len(family),
                "p_bootstrap_holm": p_bootstrap,
                "p_exact_holm": p_exact,
            }
        )
        for one, p_bootstrap, p_exact in zip(family, bootstrap, exact, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for all being looked at (Holm–Bonferroni)."""
    from statsmodels.stats.multitest import multipletests

    return [float(one) for one in multipletests(p_values, method="holm")[1]]


def _compare(
    a: Instances,
    b: Instances,
    *,
    names: tuple[str, str],
    left_out: tuple[str, ...],
    how: Resampling,
) -> Comparison:
    ids = list(a)
    shares_a, shares_b = resolved_shares(a), resolved_shares(b)
    differences = [after - before for before, after in zip(shares_a, shares_b, strict=True)]
    resampled = bootstrap_mean(differences, how=how)
    repositories = [a[one][0].repo for one in ids]
    better_in_a = tuple(one for one, d in zip(ids, differences, strict=True) if d < 0)
    better_in_b = tuple(one for one, d in zip(ids, differences, strict=True) if d > 0)
    p_bootstrap = _two_sided(resampled.distribution)
    p_exact = _exact(len(better_in_a), len(better_in_b))
    single = max(len(rows) for rows in (*a.values(), *b.values())) == 1
    return Comparison(
        a=names[0],
        b=names[1],
        instances=len(ids),
        seeds_a=_seeds(a),
        seeds_b=_seeds(b),
        pass_at_1_a=bootstrap_mean(shares_a, how=how).interval,
        pass_at_1_b=bootstrap_mean(shares_b, how=how).interval,
        difference=resampled.interval,
        clustered_difference=bootstrap_mean(differences, clusters=repositories, how=how).interval
        if len(set(repositories)) > 1
        else None,
        better_in_a=better_in_a,
        better_in_b=better_in_b,
        tied=len(ids) - len(better_in_a) - len(better_in_b),
        discordance=fmean(
            p * (1 - q) + q * (1 - p) for p, q in zip(shares_a, shares_b, strict=True)
        ),
        p_bootstrap=p_bootstrap,
        p_exact=p_exact,
        exact_test="McNemar, exact" if single else "sign test over instances, exact",
        p_bootstrap_holm=p_bootstrap,
        p_exact_holm=p_exact,
        left_out=left_out,
        notes=_notes(len(better_in_a) + len(better_in_b), len(set(repositories)), left_out),
        resampling=how,
    )


def _key(row: Scored) -> tuple[str, int]:
    return row.instance_id, row.seed


def _seeds(instances: Instances) -> tuple[int, ...]:
    return tuple(sorted({row.seed for rows in instances.values() for row in rows}))


def _two_sided(distribution: NDArray[np.float64]) -> float:
    """Twice the smaller tail of the resampled differences beyond 0, themselves counted in.

    Source: Davison and Hinkley, Bootstrap Methods and Their Application, § 4.2.
    """
    resamples = len(distribution)
    tiny = 1e-12  # differences are sums of shares: a tie is not always exactly 0
    below = int(np.count_nonzero(distribution <= tiny))
    above = int(np.count_nonzero(distribution >= -tiny))
    return min(1.0, 2 * (1 + min(below, above)) / (resamples + 1))


def _exact(better_in_a: int, better_in_b: int) -> float:
    if better_in_a + better_in_b == 0:
        return 1.0
    from statsmodels.stats.contingency_tables import mcnemar

    return min(1.0, float(mcnemar([[0, better_in_a], [better_in_b, 0]], exact=True).pvalue))


def _notes(discordant: int, clusters: int, left_out: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if discordant < FEW_DISCORDANT:
        notes.append(
            f"only {discordant} instances differ: the bootstrap's interval and p-value are too "
            "narrow with so few; go by the exact test"
        )
    if 1 < clusters < FEW_CLUSTERS:
        notes.append(f"the clustered interval is over {clusters} repositories only: approximate")
    if left_out:
        notes.append(f"{len(left_out)} instances are not graded in both runs and left out")
    return tuple(notes)


def _unpaired(names: tuple[str, str], a: set[str], b: set[str]) -> str:
    parts = [
        f"{len(only)} only in {name}: {', '.join(sorted(only)[:5])}{' …' if len(only) > 5 else ''}"
        for name, only in ((names[0], a - b), (names[1], b - a))
        if only
    ]
    return (
        f"the runs are not on the same instances ({'; '.join(parts)}); "
        "compare the common ones only, or run the missing ones"
    )
