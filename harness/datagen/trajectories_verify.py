"""Checks every row of a set of trajectories against the runs' own files.

The files are read on their own, not through what makes the rows.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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


class _Sequence(NamedTuple):
    row: str
    tokens: str
    attempt: str
    prompt: int


@dataclass
class _Check:
    runs: dict[str, RunFolder]
    tokenizer: "Tokenizer | None"
    cached: tuple[str, dict[int, dict[str, Any]]] = ("", {})
    rows: Counter[str] = field(default_factory=Counter)
    attempts: dict[str, dict[str, Any]] = field(default_factory=dict)
    sequences: dict[str, _Sequence] = field(default_factory=dict)
    due: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    sft: Counter[str] = field(default_factory=Counter)
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

    def equal(self, row: dict[str, Any], expected: dict[str, Any], where: str) -> None:
        for name, value in expected.items():
            self.expect(row[name] == value, where, f"{name} is not as recorded")

    def path(self, attempt: str, kind: str) -> Path:
        run, instance, seed = attempt.rsplit("/", 2)
        if run not in self.runs or not seed.isdigit() or instance in ("", ".", ".."):
            raise TrajectoriesError(f"{attempt}: no attempt of the runs that were given")
        return self.runs[run].root / kind / instance / seed

    def calls(self, attempt: str) -> dict[int, dict[str, Any]]:
        """The agent's answered turns by number."""
        import pyarrow.parquet as pq

        if self.cached[0] != attempt:
            path = self.path(attempt, "attempts") / "calls.parquet"
            rows = pq.read_table(path).to_pylist() if path.exists() else []
            found = {row["turn"]: row for row in rows if row["status"] == "answered"}
            found.pop(None, None)
            self.cached = (attempt, found)
        return self.cached[1]


def verify_trajectories(
    folder: Path, runs: list[Path], *, tokenizer: Path | None, console: Console | None = None
) -> VerifyReport:
    """Compare ids, masks, log-probabilities, patches, verdicts and digests, with a tokeniser the
    texts; and whether every row is there, once.

    Raises TrajectoriesError, TriplesError, ExtractionError, FileNotFoundError.
    """
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
    _complete(check, manifest, str(folder))
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


def _complete(check: _Check, manifest: TrajectoriesReport, where: str) -> None:
    """Every attempt of the runs is a row or counted, and every row that is due is there once."""
    found = sum(1 for run in check.runs.values() for _ in run.root.glob("attempts/*/[0-9]*"))
    counted = check.rows["attempts"] + sum(manifest.left_out.values())
    text = f"{found} attempts in the runs, {counted} in rows and left_out"
    check.expect(found == counted, where, text)
    pairs = 2 * check.rows["preferences"] + sum(manifest.preferences_left_out.values())
    check.expect(pairs == len(check.attempts), where, "attempts in no pair that are not counted")
    trained = len(check.sft) + sum(manifest.sft_left_out.values())
    check.expect(trained == len(check.attempts), where, "attempts not in sft that are not counted")
    for attempt, rows in check.sft.items():
        whole = rows == check.attempts.get(attempt, {}).get("sequences")
        check.expect(whole, attempt, "not all of its sequences are in sft, or one twice")
    for key in sorted(check.due.keys() | check.seen.keys()):
        text = f"{check.seen[key]} rows, should be {check.due[key]}"
        check.expect(check.seen[key] == check.due[key], key, text)


def _attempt(check: _Check, row: dict[str, Any]) -> None:
    where = row["id"]
    grade = json.loads((check.path(where, "grades") / "grade.json").read_bytes())
    folder = check.path(where, "attempts")
    made = json.loads((folder / "attempt.json").read_bytes())
    patch = folder / "patch.diff"
    data = patch.read_bytes() if patch.exists() else b""
    used = ("turns", "tool_calls", "prompt_tokens", "generated_tokens")
    recorded = {
        **{name: grade[name] for name in ("instance_id", "verdict")},
        **{name: made[name] for name in ("seed", "method", "model", "stop_reason")},
        **{name: made["usage"][name] for name in used},
        "resolved": grade["verdict"] == "resolved",
        "patch_sha256": hashlib.sha256(data).hexdigest(),
        "patch": data.decode(errors="surrogateescape").encode(errors="replace").decode(),
    }
    check.equal(row, recorded, where)
    check.expect(where not in check.attempts, where, "an attempt with two rows")
    check.attempts[where] = row
    original = row["duplicate_of"]
    if not original and not row["inexact"]:
        check.due.update(f"{where} turn {turn}" for turn in check.calls(where))
        check.due.update(f"{where}#{number}" for number in range(row["sequences"]))


def _turn(check: _Check, row: dict[str, Any]) -> None:
    where = f"{row['attempt']} turn {row['turn']}"
    call = check.calls(row["attempt"]).get(row["turn"])
    if call is None:
        check.expect(False, where, "no such turn in calls.parquet")
        return
    check.seen[where] += 1
    check.equal(row, {"instance_id": row["attempt"].rsplit("/", 2)[1]}, where)
    check.expect(call["ids_from"] == "endpoint", where, "ids are not the endpoint's")
    for mine, theirs in (
        *(("call", "call"), ("prompt_ids", "prompt_ids"), ("sampled_ids", "sampled_ids")),
        *(("loss_mask", "mask"), ("log_probs", "logprobs")),
        *(("temperature", "temperature"), ("top_p", "top_p")),
        ("finish_reason", "finish_reason"),
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
        for name in ("temperature", "top_p"):
            value = 1.0 if call[name] is None else call[name]
            check.expect(turn[name] == value, where, f"{name} of turn {turn['turn']}")
        if call["logprobs"]:
            expected[start:end] = call["logprobs"][start - end :]
    check.expect(row["loss_mask"] == mask, where, "the mask is not that of the sampled tokens")
    found = [None if one != one else one for one in log_probs]
    check.expect(found == expected, where, "log-probabilities are not those of calls.parquet")
    check.seen[where] += 1
    attempt = check.attempts.get(row["attempt"], {})
    about = {name: attempt.get(name) for name in ("instance_id", "resolved")}
    check.equal(row, about, where)
    last = calls[row["turns"][-1]["turn"]]
    said = json.loads(last["response"])["choices"][0]["message"]
    asked = json.loads(last["request"]).get("messages", [])
    check.expect(json.loads(row["messages"]) == [*asked, said], where, "not the messages")
    check.sequences[where] = _Sequence(
        _digest(row),
        _digest([ids, row["loss_mask"]]),
        row["attempt"],
        row["turns"][0]["start"],
    )


def _sft(check: _Check, row: dict[str, Any]) -> None:
    one = check.sequences.get(row["id"])
    check.expect(one is not None and one.row == _digest(row), row["id"], "not this sequence")
    check.expect(row["resolved"] is True, row["id"], "an attempt that is not resolved")
    check.sft[row["attempt"]] += 1


def _preference(check: _Check, row: dict[str, Any]) -> None:
    for side in ("chosen", "rejected"):
        where = f"{row[side]}, as {side}"
        one = check.sequences.get(row[side])
        if one is None:
            check.expect(False, where, "no such sequence")
            continue
        ids = row["prompt_ids"] + row[f"{side}_ids"]
        mask = [False] * len(row["prompt_ids"]) + row[f"{side}_mask"]
        check.expect(one.tokens == _digest([ids, mask]), where, "not the sequence of this id")
        check.expect(one.prompt == len(row["prompt_ids"]), where, "the prompt ends elsewhere")
        attempt = check.attempts.get(one.attempt, {})
        check.expect(attempt.get("resolved") is (side == "chosen"), where, "another outcome")
        check.equal(row, {"instance_id": attempt.get("instance_id")}, where)
        if side == "rejected":
            check.equal(row, {"rejected_verdict": attempt.get("verdict")}, where)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
