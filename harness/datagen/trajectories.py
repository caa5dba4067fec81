"""A data set of graded attempts: outcomes, token-exact turns, SFT rows, preference pairs."""

import fcntl
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.datagen.row_writer import RowWriter
from harness.datagen.run_instances import named_runs, run_instances
from harness.datagen.trajectories_card import card
from harness.datagen.trajectories_read import (
    DUPLICATE,
    NOT_A_TURN,
    Recorded,
    find_attempts,
    read_calls,
)
from harness.datagen.trajectories_report import ConfigFile, TrajectoriesError, TrajectoriesReport
from harness.datagen.trajectories_rows import (
    FIELDS,
    SCHEMA_VERSION,
    attempt_row,
    preference_row,
    schema,
    sequence_row,
    turn_row,
)
from harness.datagen.trajectories_select import Candidate, Selection, select
from harness.datagen.triples_gate import Gate
from harness.records import RunFolder
from harness.records.sequences import Tokens
from harness.rollouts.progress import ProgressLine

MANIFEST, CARD, DATA = "manifest.json", "README.md", "data"
PER_INSTANCE = 4


@dataclass
class _Survey:
    found: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    attempts: list[Recorded] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    repositories: Counter[str] = field(default_factory=Counter)
    privileged: Counter[str] = field(default_factory=Counter)


def make_trajectories(
    runs: list[Path],
    gate: Gate,
    out: Path,
    *,
    per_instance: int = PER_INSTANCE,
    pairs_per_instance: int = PER_INSTANCE,
    dry_run: bool = False,
    console: Console | None = None,
) -> TrajectoriesReport:
    """Write the configurations to `out`/data, a manifest and a dataset card; all or nothing.

    Attempts are read twice, one at a time. Nothing is written on a dry run. Raises
    TrajectoriesError, TriplesError, FileNotFoundError.
    """
    if out.exists():
        raise TrajectoriesError(f"{out}: exists; name another folder or remove it")
    named = named_runs(runs)
    gate.see(one for run in named.values() for one in run_instances(run))
    survey = _Survey()
    for one in find_attempts(named, gate):
        survey.found += 1
        if isinstance(one, Recorded):
            survey.attempts.append(one)
        else:
            survey.left_out[one] += 1
    console = console or Console(quiet=True)
    with ProgressLine("read", len(survey.attempts), console=console) as line:
        for one in survey.attempts:
            _look(one, survey)
            line.advance(one.instance.instance_id)
    chosen = select(survey.candidates, per_instance=per_instance, pairs=pairs_per_instance)
    about: dict[str, Any] = {
        "gate": gate.record.model_dump(),
        "per_instance": per_instance,
        "pairs_per_instance": pairs_per_instance,
        "runs": {name: _digest(run.lock) for name, run in sorted(named.items())},
        "tokenizers": _tokenizers(named),
    }
    draft = out.with_name(f".{out.name}.draft")
    counts = _Counts()
    with nullcontext() if dry_run else _locked(draft, out):
        with ExitStack() as stack:
            if not dry_run:
                shutil.rmtree(draft / DATA, ignore_errors=True)
                (draft / DATA).mkdir()
                for name in FIELDS:
                    metadata = {"schema_version": SCHEMA_VERSION, "config": name, **about}
                    writer = RowWriter(draft / DATA / f"{name}.parquet", schema(name), metadata)
                    counts.writers[name] = stack.enter_context(writer)
            line = ProgressLine("written", len(survey.attempts), console=console)
            _write(survey, chosen, counts, stack.enter_context(line))
        report = _report(survey, chosen, counts, about, draft)
        if not dry_run:
            text = report.model_dump_json(indent=1) + "\n"
            (draft / MANIFEST).write_text(text, encoding="utf-8")
            (draft / CARD).write_text(card(report), encoding="utf-8")
            draft.rename(out)
    return report


@dataclass
class _Counts:
    """Rows as they are written; without writers they are counted alone."""

    writers: dict[str, RowWriter] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    calls_left_out: Counter[str] = field(default_factory=Counter)
    sampled_tokens: int = 0

    def add(self, config: str, row: dict[str, Any]) -> None:
        self.rows[config] += 1
        if config in self.writers:
            self.writers[config].add(row)


def _look(one: Recorded, survey: _Survey) -> None:
    calls = read_calls(one)
    prompt = json.dumps(calls.turns[0]["prompt_ids"]) if calls.turns else ""
    survey.verdicts[one.grade.verdict.value] += 1
    survey.privileged[one.privileged] += bool(one.privileged)
    survey.repositories[one.instance.repo] += 1
    survey.candidates.append(
        Candidate(
            one.id,
            one.instance.instance_id,
            calls.key(one),
            one.grade.verdict,
            len(calls.sequences()),
            hashlib.sha256(prompt.encode()).hexdigest(),
            bool(one.privileged),
        )
    )


def _write(survey: _Survey, chosen: Selection, counts: _Counts, line: ProgressLine) -> None:
    partner = dict(chosen.pairs) | {rejected: one for one, rejected in chosen.pairs}
    first = {one for one, _ in chosen.pairs}
    waiting: dict[str, tuple[Recorded, Tokens]] = {}
    for one in survey.attempts:
        calls = read_calls(one)
        sequences = calls.sequences()
        original = chosen.duplicate_of.get(one.id)
        counts.add("attempts", attempt_row(one, calls, len(sequences), original))
        counts.calls += len(calls.rows)
        counts.calls_left_out[NOT_A_TURN] += len(calls.rows) - len(calls.turns)
        line.advance(one.instance.instance_id)
        reason = DUPLICATE if original else calls.inexact
        if reason:
            counts.calls_left_out[reason] += len(calls.turns)
            continue
        for row in calls.turns:
            counts.sampled_tokens += len(row["sampled_ids"])
            counts.add("turns", turn_row(one, row))
        for number, tokens in enumerate(sequences):
            made = sequence_row(one, calls, tokens, number)
            counts.add("sequences", made)
            if one.id in chosen.sft:
                counts.add("sft", made)
        if one.id in partner:
            waiting[one.id] = (one, sequences[0])
            if other := waiting.pop(partner[one.id], None):
                mine = waiting.pop(one.id)
                pair = (mine, other) if one.id in first else (other, mine)
                counts.add("preferences", preference_row(*pair))


def _report(
    survey: _Survey, chosen: Selection, counts: _Counts, about: dict[str, Any], draft: Path
) -> TrajectoriesReport:
    configs = {}
    for name in FIELDS:
        digest = _digest(draft / DATA / f"{name}.parquet") if name in counts.writers else ""
        configs[name] = ConfigFile(rows=counts.rows[name], sha256=digest)
    return TrajectoriesReport.model_validate(
        {
            **about,
            "found": survey.found,
            "left_out": _sorted(survey.left_out),
            "attempts": len(survey.attempts),
            "instances": len({one.instance_id for one in survey.candidates}),
            "resolved": sum(one.resolved for one in survey.attempts),
            "verdicts": _sorted(survey.verdicts),
            "repositories": _sorted(survey.repositories),
            "privileged": _sorted(survey.privileged),
            "duplicates": len(chosen.duplicate_of),
            "calls": counts.calls,
            "calls_left_out": _sorted(counts.calls_left_out),
            "sampled_tokens": counts.sampled_tokens,
            "sft_attempts": len(chosen.sft),
            "sft_left_out": _sorted(chosen.sft_left_out),
            "preferences_left_out": _sorted(chosen.pairs_left_out),
            "configs": configs,
        }
    )


@contextmanager
def _locked(draft: Path, out: Path) -> Iterator[None]:
    draft.mkdir(parents=True, exist_ok=True)
    folder = os.open(draft, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrajectoriesError(f"{out}: another command writes it; wait for it") from None
        if out.exists():
            raise TrajectoriesError(f"{out}: another command has written it")
        yield
    finally:
        os.close(folder)


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts) if counts[name]}


def _tokenizers(named: dict[str, RunFolder]) -> dict[str, str]:
    found = {}
    for name, run in sorted(named.items()):
        try:
            digest = json.loads(run.lock.read_bytes())["model"]["tokenizer_sha256"]
        except (ValueError, LookupError, TypeError):
            continue
        if isinstance(digest, str):
            found[name] = digest
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
