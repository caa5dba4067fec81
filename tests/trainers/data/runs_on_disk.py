"""Runs as `harness eval` writes them, of made-up conversations."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from harness.gateway.calls import CallRow, CallWriter
from harness.records import Grade, RunFolder, Verdict

SUBMISSION = 257


def call(number: int, prompt: Sequence[int], sampled: Sequence[int], **changes: Any) -> CallRow:
    """An answered turn of the agent, as the embedded server would have answered it."""
    values: dict[str, Any] = {
        "turn": number,
        "status": "answered",
        "prompt_ids": list(prompt),
        "sampled_ids": list(sampled),
        "logprobs": [-1.0] * len(sampled),
        "ids_from": "endpoint",
        "temperature": 0.7,
        "top_p": 0.95,
    }
    return CallRow(number, "agent", datetime(2026, 1, 1, tzinfo=UTC), **(values | changes))


def conversation(seed: int, turns: int = 2, length: int = 12) -> list[CallRow]:
    """Calls that each begin with all that came before, of random bytes."""
    rng = np.random.default_rng(seed)
    history: list[int] = []
    calls = []
    for turn in range(1, turns + 1):
        history += rng.integers(0, 256, length).tolist()
        sampled = [*rng.integers(0, 256, int(rng.integers(2, length))).tolist(), SUBMISSION]
        logprobs = rng.uniform(-6, -4, len(sampled)).tolist()
        calls.append(call(turn, history, sampled, logprobs=logprobs))
        history = history + sampled
    return calls


def write_attempt(
    run: RunFolder, instance: str, seed: int, calls: Sequence[CallRow], verdict: Verdict | None
) -> Path:
    """One attempt's calls, and its grade; the path of the calls."""
    folder = run.attempt(instance, seed)  # type: ignore[arg-type]
    folder.mkdir(parents=True)
    path = folder / "calls.parquet"
    with ThreadPoolExecutor(1) as executor:
        writer = CallWriter(path, executor)
        for row in calls:
            writer.add(row)
        writer.close().result()
    assert writer.error is None
    if verdict is not None:
        grade = Grade(
            instance_id=instance,
            verdict=verdict,
            reason="made up",
            patch_sha256="0",
            image_digest="0",
            grader="0",
            cache_key="0",
        )
        place = run.grade(instance, seed)  # type: ignore[arg-type]
        place.mkdir(parents=True)
        (place / "grade.json").write_text(grade.model_dump_json())
    return path


def write_run(
    folder: Path, *, instances: int = 3, seeds: int = 2, tokenizer: str | None = None
) -> Path:
    """A run in which the first seed of each instance is resolved and the others are not."""
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    run.config.write_text(f"schema_version: 1\nid: {folder.name}\n")
    run.lock.write_text(json.dumps({"model": {"tokenizer_sha256": tokenizer}}))
    for number in range(instances):
        for seed in range(seeds):
            verdict = Verdict.UNRESOLVED if seed else Verdict.RESOLVED
            calls = conversation(1000 * number + seed, turns=1 + number % 3, length=6 + 5 * seed)
            write_attempt(run, f"owner__repo-{number}", seed, calls, verdict)
    return folder
