"""What an experiment says: pass@1 of its policies, their differences, the share of a gap closed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from harness.config import ConfigError
from harness.config.run import Name
from harness.records import Record, RunFolder, find_runs
from harness.rollouts.finish import load_scored
from harness.scoring import Scored, score
from harness.scoring.compare import compare, holm
from harness.scoring.intervals import bootstrap_ratio
from harness.scoring.scores import by_instance, resolved_shares

SEEDS_OF_A_RUN = 1000  # more than a run has


class Policy(Record):
    """A model as it acts. runs: folders, or patterns of such; one for each training seed."""

    name: str
    what: str
    runs: tuple[str, ...] = Field(min_length=1)


class Attachment(Record):
    """A part of another command's result. keys: of its figures; all where none is named."""

    title: str
    texts: tuple[str, ...] = ()
    file: str
    keys: tuple[str, ...] = ()
    images: dict[str, str] = Field(default_factory=dict, description="Caption to SVG file.")


class Experiment(Record):
    """A report's manifest. Paths are below the root that it is made for.

    baseline: the untrained student. reference: the teacher; the gap lies between the two.
    comparisons: pairs besides each policy against the baseline.
    """

    schema_version: Literal[1] = 1
    name: Name
    title: str
    question: str
    texts: tuple[str, ...] = ()
    baseline: str
    reference: str
    policies: tuple[Policy, ...] = Field(min_length=2)
    comparisons: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> "Experiment":
        names = [policy.name for policy in self.policies]
        used = [
            self.baseline,
            self.reference,
            *(name for pair in self.comparisons for name in pair),
        ]
        for name in used:
            if names.count(name) != 1:
                raise ValueError(
                    f"{name!r} is {names.count(name)} times among the policies: {names}"
                )
        return self


def load_policies(experiment: Experiment, root: Path) -> dict[str, list[Scored]]:
    """All graded attempts of each policy; those of several runs become seeds of their own.

    Raises ConfigError for a policy without runs, or whose runs are not finished.
    """
    return {policy.name: load_runs(policy_runs(policy, root)) for policy in experiment.policies}


def load_runs(folders: Sequence[RunFolder]) -> list[Scored]:
    """All graded attempts of runs, one seed of training each: theirs become seeds of their own."""
    return [
        row.model_copy(update={"seed": number * SEEDS_OF_A_RUN + row.seed})
        for number, folder in enumerate(folders)
        for row in load_scored(folder)
    ]


def policy_runs(policy: Policy, root: Path) -> list[RunFolder]:
    """The runs of a policy, in the order of their names."""
    found: list[RunFolder] = []
    for pattern in policy.runs:
        paths = sorted(root.glob(pattern))
        if not paths:
            raise ConfigError(f"policy {policy.name!r}: no run {root / pattern}")
        found += [folder for path in paths for folder in find_runs(path)]
    for folder in found:
        if not folder.scores.is_file():
            raise ConfigError(f"policy {policy.name!r}: {folder.root} is not finished")
    return found


def results(experiment: Experiment, rows: dict[str, list[Scored]]) -> dict[str, Any]:
    """Everything that is shown, as plain data: proportions from 0 to 1."""
    scores = {name: score(each) for name, each in rows.items()}
    pairs = [
        (experiment.baseline, policy.name)
        for policy in experiment.policies
        if policy.name != experiment.baseline
    ]
    pairs += [pair for pair in experiment.comparisons if pair not in pairs]
    return {
        "pass_at_1": [
            {
                "policy": policy.name,
                "pass@1": _interval(scores[policy.name].pass_at_1),
                "instances": scores[policy.name].instances,
                "attempts": scores[policy.name].attempts,
                "resolved": scores[policy.name].resolved,
                "infra_failures": len(scores[policy.name].ungraded.infra_failures),
                "by_run": _by_run(rows[policy.name]),
                "what": policy.what,
            }
            for policy in experiment.policies
        ],
        "differences": [
            {"pair": f"{b} − {a}"} | found for (a, b), found in differences(pairs, rows).items()
        ],
        "gap_recovery": _gap(experiment, rows),
    }


def differences(
    pairs: Sequence[tuple[str, str]],
    rows: Mapping[str, Sequence[Scored]],
    *,
    common_only: bool = False,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Of each pair the second less the first, all of them one family (Holm–Bonferroni).

    A difference is shown where the exact test and the bootstrap agree at 5 %. common_only: on the
    instances that both have; otherwise raises NotPairedError where one has others.
    """
    family = [compare(rows[a], rows[b], names=(a, b), common_only=common_only) for a, b in pairs]
    exact = holm([one.p_exact for one in family])
    bootstrap = holm([one.p_bootstrap for one in family])
    return {
        pair: {
            "instances": one.instances,
            "difference": one.difference.model_dump(),
            "better / worse / tied": f"{len(one.better_in_b)} / {len(one.better_in_a)} / "
            f"{one.tied}",
            "p exact (Holm)": p_exact,
            "p bootstrap (Holm)": p_bootstrap,
            "shown": p_exact < 0.05 and p_bootstrap < 0.05,
        }
        for pair, one, p_exact, p_bootstrap in zip(pairs, family, exact, bootstrap, strict=True)
    }


def _by_run(rows: Sequence[Scored]) -> list[str]:
    runs: dict[int, list[Scored]] = {}
    for row in rows:
        runs.setdefault(row.seed // SEEDS_OF_A_RUN, []).append(row)
    return [f"{sum(r.resolved for r in each) / len(each):.1%}" for _, each in sorted(runs.items())]


def _interval(rate: Any) -> dict[str, Any] | None:
    return rate.interval.model_dump() if rate else None


def _gap(experiment: Experiment, rows: dict[str, list[Scored]]) -> list[dict[str, Any]]:
    """Share of the gap between baseline and reference that each other policy closed."""
    graded = {name: by_instance(row for row in each if row.graded) for name, each in rows.items()}
    base, reference = graded[experiment.baseline], graded[experiment.reference]
    table = []
    for policy in experiment.policies:
        own = graded[policy.name]
        ids = sorted(own.keys() & base.keys() & reference.keys())
        if policy.name in (experiment.baseline, experiment.reference) or not ids:
            continue
        mine, low, high = (
            resolved_shares({one: each[one] for one in ids}) for each in (own, base, reference)
        )
        found = bootstrap_ratio(
            [a - b for a, b in zip(mine, low, strict=True)],
            [a - b for a, b in zip(high, low, strict=True)],
        )
        table.append(
            {
                "policy": policy.name,
                "instances": len(ids),
                "share of the gap": None if found is None else found.value,
                "95% interval": "no bound: the gap itself may be 0"
                if found is None
                else f"{found.low:.2f} to {found.high:.2f}",
            }
        )
    return table
