"""Checks every row of a set of trajectories against the runs' own files.

The files are read on their own, not through what makes the rows.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError
from rich.console import Console

from harness.datagen.run_instances import named_runs
from harness.datagen.trajectories_report import TrajectoriesError, TrajectoriesReport
from harness.datagen.triples_spans import load_tokenizer
from harness.records import Record, RunFolder
from harness.rollouts.progress import ProgressLine

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SHOWN = 20


class VerifyReport(Record):
    """What was compared and what was wrong."""

    rows: dict[str, int] = Field(description="Compared, by configuration.")
    tokens: int = Field(description="Sampled tokens of `turns`.")
    log_probs: int
    texts_equal: int = Field(description="Turns whose sampled ids decode to the answer's text.")
    texts_not_compared: int = Field(
        description="No tokeniser, or the endpoint took calls or reasoning out of the text."
    )
    wrong: int
    problems: tuple[str, ...] = Field(description=f"The first {_SHOWN}.")


@dataclass
class _Check:
    runs: dict[str, RunFolder]
    tokenizer: "Tokenizer | None"
    cached: tuple[str, dict[int, dict[str, Any]]] = ("", {})
    rows: Counter[str] = field(default_factory=Counter)
    sequences: dict[str, str] = field(default_factory=dict)
    tokens: int = 0
    log_probs: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    problems: list[str] = field(default_factory=list)

    def expect(self, true: bool, where: str, what: str) -> None:
        if not true:
            self.wrong += 1
            if len(self.problems) < _SHOWN:
                self.problems.append(f"{where}: {what}")

    def path(self, attempt: str, kind: str) -> Path:
        run, instance, seed = attempt.rsplit("/", 2)
        if run not in self.runs or not seed.isdigit() or instance in ("", ".", ".."):
            raise TrajectoriesError(f"{attempt}: no attempt of the runs that were given")
        return self.runs[run].root / kind / instance / seed

    def calls(self, attempt: str) -> dict[int, dict[str, Any]]:
        """The agent's answered turns by number."""
        import pyarrow.parquet as pq

        if self.cached[0] != attempt:
            rows = pq.read_table(self.path(attempt, "attempts") / "calls.parquet").to_pylist()
            found = {row["turn"]: row for row in rows if row["status"] == "answered"}
            found.pop(None, None)
            self.cached = (attempt, found)
        return self.cached[1]


def verify_trajectories(
    folder: Path, runs: list[Path], *, tokenizer: Path | None, console: Console | None = None
) -> VerifyReport:
    """Compare ids, masks, log-probabilities, patches, verdicts and digests; and with a tokeniser
    the texts. Raises TrajectoriesError, TriplesError, ExtractionError, FileNotFoundError."""
    try:
        manifest = TrajectoriesReport.model_validate_json((folder / "manifest.json").read_bytes())
    except ValidationError as error:
        raise TrajectoriesError(f"{folder / 'manifest.json'}: no manifest ({error})") from None
    check = _Check(named_runs(runs), load_tokenizer(tokenizer) if tokenizer else None)
    compare = {
        "attempts": _attempt,
        "turns": _turn,
        "sequences": _sequence,
        "sft": _sft,
        "preferences": _preference,
    }
    total = sum(one.rows for one in manifest.configs.values())
    with ProgressLine("compared", total, console=console or Console(quiet=True)) as line:
        for name, one in manifest.configs.items():
            path = folder / "data" / f"{name}.parquet"
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            check.expect(digest == one.sha256, str(path), "not the file of the manifest")
            for row in _rows(path):
                compare[name](check, row)
                check.rows[name] += 1
                line.advance(name)
            check.expect(check.rows[name] == one.rows, str(path), "not as many rows as it should")
    return VerifyReport(
        rows=dict(check.rows),
        tokens=check.tokens,
        log_probs=check.log_probs,
        texts_equal=check.texts["equal"],
        texts_not_compared=check.texts["not compared"],
        wrong=check.wrong,
        problems=tuple(check.problems),
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64):
            yield from batch.to_pylist()


def _attempt(check: _Check, row: dict[str, Any]) -> None:
    where = row["id"]
    grade = json.loads((check.path(where, "grades") / "grade.json").read_bytes())
    check.expect(row["verdict"] == grade["verdict"], where, "another verdict than the grade's")
    check.expect(row["resolved"] == (grade["verdict"] == "resolved"), where, "another outcome")
    patch = check.path(where, "attempts") / "patch.diff"
    data = patch.read_bytes() if patch.exists() else b""
    digest = hashlib.sha256(data).hexdigest()
    check.expect(row["patch_sha256"] == digest, where, "not the digest of patch.diff")
    check.expect(
        row["patch"] == data.decode(errors="replace") or "?" in row["patch"], where, "patch"
    )


def _turn(check: _Check, row: dict[str, Any]) -> None:
    where = f"{row['attempt']} turn {row['turn']}"
    call = check.calls(row["attempt"]).get(row["turn"])
    if call is None:
        check.expect(False, where, "no such turn in calls.parquet")
        return
    check.expect(call["ids_from"] == "endpoint", where, "ids are not the endpoint's")
    for mine, theirs in (
        *(("call", "call"), ("prompt_ids", "prompt_ids"), ("sampled_ids", "sampled_ids")),
        *(("loss_mask", "mask"), ("log_probs", "logprobs")),
        *(("temperature", "temperature"), ("top_p", "top_p")),
    ):
        check.expect(row[mine] == call[theirs], where, f"{mine} are not those of calls.parquet")
    check.tokens += len(call["sampled_ids"])
    check.log_probs += len(row["log_probs"])
    message = json.loads(call["response"])["choices"][0]["message"]
    check.expect(json.loads(row["message"]) == message, where, "not the recorded message")
    taken_out = message.get("tool_calls") or message.get("reasoning_content")
    if check.tokenizer is None or taken_out:
        check.texts["not compared"] += 1
        return
    ids, text = row["sampled_ids"], message.get("content") or ""
    said = [check.tokenizer.decode(part, skip_special_tokens=False) for part in (ids, ids[:-1])]
    check.expect(text in said, where, f"the ids decode to {said[0]!r}, the text is {text!r}")
    check.texts["equal"] += text in said


def _sequence(check: _Check, row: dict[str, Any]) -> None:
    where, ids, log_probs = row["id"], row["input_ids"], row["log_probs"]
    calls = check.calls(row["attempt"])
    mask, expected = [False] * len(ids), [None] * len(ids)
    for turn in row["turns"]:
        start, end, call = turn["start"], turn["end"], calls.get(turn["turn"])
        if call is None:
            check.expect(False, where, f"no turn {turn['turn']} in calls.parquet")
            return
        exact = call["prompt_ids"] + call["sampled_ids"] == ids[:end]
        check.expect(exact, where, f"turn {turn['turn']} was sampled after other tokens")
        check.expect(start == max(len(call["prompt_ids"]), 1), where, "a turn begins elsewhere")
        mask[start:end] = [True] * (end - start)
        if call["logprobs"]:
            expected[start:end] = call["logprobs"][start - end :]
    check.expect(row["loss_mask"] == mask, where, "the mask is not that of the sampled tokens")
    found = [None if one != one else one for one in log_probs]
    check.expect(found == expected, where, "log-probabilities are not those of calls.parquet")
    check.sequences[where] = _content(ids, row["loss_mask"])


def _sft(check: _Check, row: dict[str, Any]) -> None:
    same = check.sequences.get(row["id"]) == _content(row["input_ids"], row["loss_mask"])
    check.expect(same, row["id"], "not the sequence of this id")
    check.expect(row["resolved"] is True, row["id"], "an attempt that is not resolved")


def _preference(check: _Check, row: dict[str, Any]) -> None:
    for side in ("chosen", "rejected"):
        ids = row["prompt_ids"] + row[f"{side}_ids"]
        mask = [False] * len(row["prompt_ids"]) + row[f"{side}_mask"]
        same = check.sequences.get(row[side]) == _content(ids, mask)
        check.expect(same, row[side], f"not the sequence of this id, as {side}")


def _content(ids: list[int], mask: list[bool]) -> str:
    return hashlib.sha256(json.dumps([ids, mask]).encode()).hexdigest()
