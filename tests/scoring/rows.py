"""Graded attempts made up for tests."""

from collections.abc import Sequence
from typing import Any

from harness.records import StopReason, Verdict
from harness.scoring import Scored


def attempt(instance: str, *, resolved: bool = False, seed: int = 0, **changes: Any) -> Scored:
    """One graded attempt; `changes` replace fields."""
    fields: dict[str, Any] = {
        "instance_id": instance,
        "repo": "owner/pkg",
        "seed": seed,
        "verdict": Verdict.RESOLVED if resolved else Verdict.UNRESOLVED,
        "stop_reason": StopReason.FINISHED,
    }
    return Scored.model_validate(fields | changes)


def run(outcomes: Sequence[bool], *, seed: int = 0, repos: int = 1) -> list[Scored]:
    """One attempt per instance, spread over so many repositories."""
    return [
        attempt(f"i-{number:04}", resolved=outcome, seed=seed, repo=f"owner/r{number % repos}")
        for number, outcome in enumerate(outcomes)
    ]


def runs(table: Sequence[Sequence[bool]]) -> list[Scored]:
    """One row of outcomes per seed."""
    return [row for seed, outcomes in enumerate(table) for row in run(outcomes, seed=seed)]


def infra(instance: str, *, seed: int = 0) -> Scored:
    """An attempt that the environment failed."""
    return attempt(instance, seed=seed, verdict=Verdict.INFRA_FAILURE)
