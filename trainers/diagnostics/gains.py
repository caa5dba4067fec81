"""Where a student gains on another: outcomes of attempts by the ρ of the states they went through.

Shapes: S states of the student, B of the baseline.
"""

from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainers.data.errors import DataError
from trainers.diagnostics.intervals import Floats, Indices, Number, bootstrap


class Visited(NamedTuple):
    """Of each state: ρ, R of its attempt, and the instance."""

    rho: Floats
    outcome: Floats
    instance: NDArray[np.str_]


class Gain(TypedDict):
    """A decile of ρ over both students' states, the lowest first. gain: NaN where one has none."""

    decile: int
    n: int
    baseline_n: int
    outcome: float
    baseline: float
    gain: Number


def decile_gains(student: Visited, baseline: Visited, bins: int = 10) -> list[Gain]:
    """Mean outcome over a decile's states less the baseline's; an attempt counts by its states.

    Both on the instances that both have, which are resampled together. Source: CHOP Table 18.
    """
    both = np.intersect1d(student.instance, baseline.instance)
    sides = [_among(one, both) for one in (student, baseline)]
    pooled = np.concatenate([one.rho for one in sides])
    edges = np.quantile(pooled, np.arange(1, bins) / bins) if len(pooled) else np.empty(0)
    rows = []
    for number in range(bins):
        sums, counts = zip(*(_by_instance(one, edges, number, both) for one in sides), strict=True)
        if not all(each.sum() for each in counts):
            continue
        rows.append(
            Gain(
                decile=number + 1,
                n=int(counts[0].sum()),
                baseline_n=int(counts[1].sum()),
                outcome=float(sums[0].sum() / counts[0].sum()),
                baseline=float(sums[1].sum() / counts[1].sum()),
                gain=_difference(sums, counts, both),
            )
        )
    return rows


def read_visited(path: Path) -> tuple[Floats, Floats, Floats, NDArray[np.str_]]:
    """H(q), TV(q, p), outcome and instance of the graded states of a `states.parquet`.

    Raises DataError, naming the file.
    """
    columns = ["teacher_entropy", "tv", "outcome", "instance_id"]
    try:
        table = pq.read_table(path, columns=columns)
        found = [table[name].to_numpy() for name in columns[:3]]
        names = np.array(table["instance_id"].to_pylist(), dtype=str)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(
            f"{path}: not the states of a diagnosis ({error}); give the folder of another "
            "`harness diagnose`"
        ) from None
    graded = np.isfinite(found[2].astype(np.float64))
    entropy, tv, outcome = (each[graded].astype(np.float64) for each in found)
    return entropy, tv, outcome, names[graded]


def _among(one: Visited, instances: NDArray[np.str_]) -> Visited:
    there = np.isin(one.instance, instances) & np.isfinite(one.outcome)
    return Visited(one.rho[there], one.outcome[there], one.instance[there])


def _by_instance(
    one: Visited, edges: Floats, number: int, instances: NDArray[np.str_]
) -> tuple[Floats, Floats]:
    """Sums of outcomes and numbers of states of each instance in a decile."""
    inside = np.searchsorted(edges, one.rho, side="left") == number
    owner = np.searchsorted(instances, one.instance[inside])
    sums = np.bincount(owner, one.outcome[inside], len(instances)).astype(np.float64)
    return sums, np.bincount(owner, minlength=len(instances)).astype(np.float64)


def _difference(
    sums: tuple[Floats, ...], counts: tuple[Floats, ...], instances: NDArray[np.str_]
) -> Number:
    def statistic(chosen: Indices) -> float:
        states = [each[chosen].sum() for each in counts]
        if not all(states):
            return float("nan")
        means = [each[chosen].sum() / count for each, count in zip(sums, states, strict=True)]
        return float(means[0] - means[1])

    return bootstrap(statistic, instances)
