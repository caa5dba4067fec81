"""Graded attempts of runs and their model calls."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from harness.datagen.run_instances import attempt_folders, run_instances
from harness.datagen.trajectories_report import TrajectoriesError
from harness.datagen.triples_gate import Gate
from harness.records import Attempt, Grade, Instance, RunFolder, StopReason, Verdict
from harness.records.sequences import Call, Tokens, merge_calls

# Why an attempt is no row.
NOT_GRADED, INFRASTRUCTURE = "not_graded", "infrastructure_failure"
INCOMPLETE, UNKNOWN = "incomplete", "instance_not_in_run"

# Why a model call is no row.
NOT_A_TURN, DUPLICATE = "not_an_answered_turn", "duplicate_attempt"
NO_IDS, RETOKENISED, BAD_LOGPROBS = "no_token_ids", "retokenised", "damaged_log_probs"

_T = TypeVar("_T", Attempt, Grade)
_COLUMNS = (
    *("call", "turn", "status", "prompt_ids", "sampled_ids", "mask", "logprobs", "ids_from"),
    *("temperature", "top_p", "finish_reason", "request", "response"),
)


@dataclass(frozen=True)
class Recorded:
    """A graded attempt of a run. privileged: what of the solution it was given; or empty."""

    run: str
    instance: Instance
    seed: int
    folder: Path
    attempt: Attempt
    grade: Grade
    privileged: str

    @property
    def id(self) -> str:
        """Run, instance and seed, as trainers name it."""
        return f"{self.run}/{self.instance.instance_id}/{self.seed}"

    @property
    def resolved(self) -> bool:
        """Whether its patch passed the instance's tests."""
        return self.grade.verdict is Verdict.RESOLVED


@dataclass(frozen=True)
class Calls:
    """An attempt's model calls. `inexact`: why none of its tokens can be used; or empty."""

    rows: list[dict[str, Any]]
    turns: list[dict[str, Any]]
    inexact: str

    def sequences(self) -> list[Tokens]:
        """The turns as training joins them, each with a sampled token."""
        if self.inexact:
            return []
        calls = (
            Call(
                row["prompt_ids"],
                row["sampled_ids"],
                row["logprobs"],
                1.0 if row["temperature"] is None else row["temperature"],
                1.0 if row["top_p"] is None else row["top_p"],
                row["turn"],
            )
            for row in self.turns
        )
        return [
            one for one in merge_calls(calls) if any(turn.end > turn.start for turn in one.turns)
        ]

    def key(self, attempt: Recorded) -> str:
        """Digest of the content: instance, patch, and of each turn the tokens, or the text where
        there are none."""
        digest = hashlib.sha256(attempt.instance.instance_id.encode())
        digest.update(f"\0{attempt.attempt.patch_sha256}\0".encode())
        for row in self.turns:
            tokens = [row["prompt_ids"], row["sampled_ids"]]
            said = tokens if any(tokens) else [row["request"], json.dumps(message(row))]
            digest.update(json.dumps(said).encode())
        return digest.hexdigest()


def find_attempts(named: dict[str, RunFolder], gate: Gate) -> Iterator[Recorded | str]:
    """Each attempt by instance, run and seed; or why it is left out.

    Raises TrajectoriesError for a damaged record.
    """
    found: list[tuple[str, str, int, Instance, Path]] = []
    told = {name: _privileged(run) for name, run in named.items()}
    for name, run in named.items():
        known = 0
        for instance in run_instances(run):
            for seed, folder in attempt_folders(run, instance):
                found.append((instance.instance_id, name, seed, instance, folder))
                known += 1
        yield from [UNKNOWN] * (sum(1 for _ in run.root.glob("attempts/*/[0-9]*")) - known)
    for _, name, seed, instance, folder in sorted(found, key=lambda one: one[:3]):
        if refusal := gate.refusal(instance):
            yield refusal
            continue
        attempt = _record(folder / "attempt.json", Attempt)
        grade = _record(named[name].grade(instance.id, seed) / "grade.json", Grade)
        if attempt is None:
            yield INCOMPLETE
        elif attempt.stop_reason is StopReason.INFRASTRUCTURE:
            yield INFRASTRUCTURE
        elif grade is None:
            yield NOT_GRADED
        elif grade.verdict is Verdict.INFRA_FAILURE:
            yield INFRASTRUCTURE
        else:
            yield Recorded(name, instance, seed, folder, attempt, grade, told[name])


def read_calls(attempt: Recorded) -> Calls:
    """The calls as recorded, in the file's order. Raises TrajectoriesError for a damaged file."""
    rows = call_rows(attempt.folder / "calls.parquet")
    turns = [row for row in rows if row["turn"] is not None and row["status"] == "answered"]
    return Calls(rows, turns, _inexact(turns))


def call_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `calls.parquet`; none without a file. Raises TrajectoriesError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows: list[dict[str, Any]] = file.read(columns=list(_COLUMNS)).to_pylist()
    except FileNotFoundError:
        return []
    except (OSError, pa.ArrowException) as error:
        raise TrajectoriesError(
            f"{path}: not a readable record of model calls ({error}); delete the attempt's folder "
            "and run the evaluation again, which makes only what is missing"
        ) from None
    if rows and set(rows[0]) != set(_COLUMNS):
        missing = ", ".join(sorted(set(_COLUMNS) - set(rows[0])))
        raise TrajectoriesError(f"{path}: columns are missing: {missing}")
    return rows


def message(row: dict[str, Any]) -> dict[str, Any]:
    """The message of an answer; empty where there is none."""
    try:
        found = json.loads(row["response"] or "")["choices"][0]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _privileged(run: RunFolder) -> str:
    """What the run's agent was given of solutions: PI, or the gold choices of an expert."""
    made = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    try:
        options = ((made.get("method") or {}).get("agent") or {}).get("options") or {}
        pi, policy = options.get("pi"), options.get("policy")
    except AttributeError:
        raise TrajectoriesError(f"{run.config}: not a run's configuration") from None
    if policy == "gold":
        return "policy:gold"
    return f"pi:{options.get('pi_source')}" if pi == "given" else ""


def _inexact(turns: Sequence[dict[str, Any]]) -> str:
    counts = Counter(row["ids_from"] for row in turns)
    if counts["endpoint"] != len(turns):
        return RETOKENISED if counts["retokenised"] else NO_IDS
    if any(len(row["logprobs"]) not in (0, len(row["sampled_ids"])) for row in turns):
        return BAD_LOGPROBS
    return ""


def _record(path: Path, kind: type[_T]) -> _T | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise TrajectoriesError(
            f"{path}: not a record of an attempt or a grade ({error}); run the evaluation again"
        ) from None
