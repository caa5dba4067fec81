"""From the runs on disk to trajectories: `calls.parquet` and `grade.json` of every attempt."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from harness.records import Grade, RunFolder, Verdict, find_runs
from harness.records.sequences import Call, merge_calls
from trainers.data.errors import DataError
from trainers.data.trajectories import Author, Trajectory, cut

_COLUMNS = [
    "turn",
    "status",
    "prompt_ids",
    "sampled_ids",
    "logprobs",
    "ids_from",
    "temperature",
    "top_p",
]


@dataclass
class RunData:
    """Trajectories of runs, what was left out (by reason), and the tokenisers that made them.

    tokenizers: run to SHA-256 of its model's tokeniser, for runs whose lock says it.
    """

    trajectories: list[Trajectory] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    tokenizers: dict[str, str] = field(default_factory=dict)


def read_runs(paths: Sequence[Path], author: Author, *, max_tokens: int) -> RunData:
    """Every attempt's agent turns as token-exact trajectories, in the order of their names.

    A sequence is cut to `max_tokens`. Left out, and counted: attempts that the infrastructure
    failed, calls without an answer, sequences without a sampled token.

    Raises DataError for a damaged file, and for calls whose ids are not the endpoint's own: what a
    tokeniser makes of a text need not be what was sampled.
    """
    data = RunData()
    names: dict[str, Path] = {}
    for path in paths:
        try:
            runs = find_runs(path)
        except FileNotFoundError as error:
            raise DataError(f"{error}; give what `harness eval` wrote") from None
        for run in runs:
            name = run_name(run)
            if name in names:
                raise DataError(
                    f"{names[name]} and {run.root} are both the run {name!r}, so their attempts "
                    "cannot be told apart: leave one out"
                )
            names[name] = run.root
            _read_run(run, name, author, max_tokens, data)
    return data


def _read_run(run: RunFolder, name: str, author: Author, max_tokens: int, data: RunData) -> None:
    tokenizer = _tokenizer_of(run)
    if tokenizer is not None:
        data.tokenizers[str(run.root)] = tokenizer
    for path in sorted(run.root.glob("attempts/*/*/calls.parquet")):
        instance, seed = path.parts[-3:-1]
        data.counts["attempts"] += 1
        grade = _grade(run.root / "grades" / instance / seed / "grade.json")
        if grade is not None and grade.verdict is Verdict.INFRA_FAILURE:
            data.counts["attempts left out: infrastructure failure"] += 1
            continue
        outcome = None if grade is None else int(grade.verdict is Verdict.RESOLVED)
        for number, tokens in enumerate(merge_calls(_calls(path, data.counts))):
            if len(tokens.ids) > max_tokens:
                data.counts["sequences cut to max_tokens"] += 1
                tokens = cut(tokens, max_tokens)
            trajectory = Trajectory(
                name=f"{name}/{instance}/{seed}#{number}",
                group=instance,
                author=author,
                ids=tokens.ids,
                turns=tokens.turns,
                log_probs=tokens.log_probs,
                outcome=outcome,
            )
            if trajectory.sampled_tokens == 0:
                data.counts["sequences left out: no sampled token"] += 1
                continue
            data.trajectories.append(trajectory)


def _calls(path: Path, counts: Counter[str]) -> Iterator[Call]:
    """The answered calls that are turns of the agent, in their order."""
    for row in _rows(path):
        if row["turn"] is None or row["status"] != "answered":
            counts["calls left out: not an answered turn"] += 1
            continue
        if row["ids_from"] != "endpoint":
            raise DataError(
                f"{path}: turn {row['turn']} has token ids from {row['ids_from']!r}, not from the "
                "endpoint, so they may not be what the model sampled; roll out with an endpoint "
                "that returns token ids (vLLM with return_token_ids, or the embedded server)"
            )
        if row["logprobs"] and len(row["logprobs"]) != len(row["sampled_ids"]):
            raise DataError(
                f"{path}: turn {row['turn']} has {len(row['logprobs'])} log-probabilities for "
                f"{len(row['sampled_ids'])} sampled tokens; leave the attempt out and roll it out "
                "again"
            )
        yield Call(
            row["prompt_ids"],
            row["sampled_ids"],
            row["logprobs"],
            1.0 if row["temperature"] is None else row["temperature"],
            1.0 if row["top_p"] is None else row["top_p"],
            row["turn"],
        )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=_COLUMNS):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(
            f"{path}: not a readable record of model calls ({error}); delete the attempt's folder "
            "and run the evaluation again, which makes only what is missing"
        ) from None


def _grade(path: Path) -> Grade | None:
    try:
        return Grade.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: not a grade ({error}); run `harness grade` again") from None


def run_name(run: RunFolder) -> str:
    """The run's id."""
    try:
        return str(yaml.safe_load(run.config.read_text(encoding="utf-8"))["id"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise DataError(f"{run.config}: not a run's configuration ({error!r})") from None


def _tokenizer_of(run: RunFolder) -> str | None:
    """SHA-256 of the tokeniser that a run's lock names."""
    try:
        model = json.loads(run.lock.read_bytes()).get("model")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{run.lock}: not a run's lock ({error})") from None
    found = model.get("tokenizer_sha256") if isinstance(model, dict) else None
    return found if isinstance(found, str) else None
