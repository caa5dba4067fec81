"""Shares of oracle n-grams over the attempts of a run, against those of other instances."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.leakage.ngrams import Oracle
from harness.leakage.overlap_attempt import Channel, Overlap, baseline
from harness.scoring.intervals import bootstrap_mean


@dataclass(frozen=True)
class Row:
    """One attempt's shares by channel."""

    run: str
    instance_id: str
    seed: str
    own: dict[Channel, float]
    tests: float
    others: dict[Channel, float | None]
    pi_same: dict[Channel, float | None]
    pi_elsewhere: dict[Channel, float | None]

    @classmethod
    def of(
        cls,
        run: Path,
        attempt: Path,
        overlap: Overlap,
        gold: Oracle,
        tests: Oracle,
        others: Sequence[Oracle],
        same: Sequence[Oracle],
        elsewhere: Sequence[Oracle],
    ) -> "Row":
        """Measure an attempt against all its oracles."""
        own = {**gold.marks, **tests.marks}

        def against(group: Sequence[Oracle]) -> dict[Channel, float | None]:
            return {one: baseline(overlap, one, group, own) for one in Channel}

        return cls(
            run=str(run),
            instance_id=attempt.parent.name,
            seed=attempt.name,
            own={one: overlap.share(one, gold) for one in Channel},
            tests=overlap.share(Channel.SHOWN, tests),
            others=against(others),
            pi_same=against(same),
            pi_elsewhere=against(elsewhere),
        )


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Means with bootstrap intervals over instances, and the attempts with most overlap."""
    most = sorted(rows, key=lambda row: (-row.own[Channel.SHOWN], row.run, row.instance_id))
    return {
        "gold_patch_against_other_instances": list(_compared(rows, "own", "others")),
        "training_pi_of_the_repository_against_others": list(
            _compared(rows, "pi_same", "pi_elsewhere")
        ),
        "attempts_by_overlap_of_prompts": [
            {
                "run": row.run,
                "instance": row.instance_id,
                "seed": row.seed,
                **{f"gold_patch_in_{one.value}": row.own[one] for one in Channel},
                "hidden_tests_in_prompts": row.tests,
            }
            for row in most
        ],
    }


def _compared(rows: Iterable[Row], one: str, other: str) -> Iterable[dict[str, Any]]:
    """Per run and channel: the mean share, and its paired difference from the baseline's."""
    by_run: dict[str, list[Row]] = {}
    for row in rows:
        by_run.setdefault(row.run, []).append(row)
    for run, members in by_run.items():
        for channel in Channel:
            pairs: dict[str, list[tuple[float, float]]] = {}
            for row in members:
                share, base = getattr(row, one)[channel], getattr(row, other)[channel]
                if share is not None and base is not None:
                    pairs.setdefault(row.instance_id, []).append((share, base))
            if not pairs:
                continue
            differences = [fmean(a - b for a, b in each) for each in pairs.values()]
            yield {
                "run": run,
                "in": channel.value,
                "instances": len(pairs),
                "share": fmean(fmean(a for a, _ in each) for each in pairs.values()),
                "baseline": fmean(fmean(b for _, b in each) for each in pairs.values()),
                "difference": bootstrap_mean(differences).interval.model_dump(),
            }
