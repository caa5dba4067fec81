"""PI adapter training rows: (state, PI text, expert action) from the trajectories of runs."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness.datagen.row_writer import RowWriter
from harness.datagen.run_instances import attempt_folders, named_runs, run_instances
from harness.datagen.triples_align import MIN_SIMILARITY
from harness.datagen.triples_card import write_card
from harness.datagen.triples_gate import Gate, TriplesError
from harness.datagen.triples_gold import GoldFile, gold_files
from harness.datagen.triples_pi import PITexts
from harness.datagen.triples_report import SourceCounts, TriplesReport
from harness.datagen.triples_rows import triple_writer
from harness.datagen.triples_share import Share, assign
from harness.datagen.triples_spans import TokenSpans
from harness.datagen.triples_state import ExpertState
from harness.datagen.triples_states import DUPLICATE, expert_states, heavy_calls
from harness.datagen.triples_write import RowContext, make_row
from harness.records import Instance, RunFolder
from pi_extractors.base import ExtractionError
from pi_extractors.records import SourceName

EMPTY_SHARE = 0.4
DATA, COUNTS = "data", "triples.json"
_NO_CALLS, _MALFORMED, _NO_PI, _SURPLUS = "no_calls", "malformed_gold_patch", "no_pi", "surplus"


@dataclass(frozen=True)
class _Attempt:
    run: str
    folder: Path
    instance: Instance
    seed: int
    gold: tuple[GoldFile, ...]


@dataclass
class _Tally:
    attempts: int = 0
    calls: int = 0
    expert_calls: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    alignments: Counter[str] = field(default_factory=Counter)
    repositories: Counter[str] = field(default_factory=Counter)
    instances: set[str] = field(default_factory=set)
    rewritten: int = 0
    no_pi: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, str]] = field(default_factory=set)
    empty: dict[SourceName, dict[str, bool]] = field(default_factory=lambda: defaultdict(dict))


def make_triples(
    runs: list[Path],
    pi: PITexts,
    gate: Gate,
    out: Path,
    *,
    empty_share: float = EMPTY_SHARE,
    min_similarity: float = MIN_SIMILARITY,
    spans: TokenSpans | None = None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> TriplesReport:
    """Write the rows of every source to `out`/data, the counts and a dataset card beside them.

    Trajectories are read twice: for the exact share of rows without PI the number of rows must be
    known. Memory is of the order of ids, not of states. Raises TriplesError, ExtractionError,
    FileNotFoundError. Source: CHOP App. D.2.
    """
    if (out / DATA).exists():
        raise TriplesError(f"{out / DATA}: exists; name another folder or remove it")
    named = named_runs(runs)
    gate.see(one for run in named.values() for one in run_instances(run))
    tally = _Tally()
    for attempt in _attempts(named, gate, tally):
        _survey(attempt, pi, tally, min_similarity)
        on_progress(f"{attempt.instance.instance_id}: {tally.expert_calls} expert actions so far")
    decided = {
        source: assign(tally.empty[source], empty_share, source.value) for source in pi.sources
    }
    shared = {
        "gate": gate.record.model_dump(),
        "empty_share": empty_share,
        "min_similarity": min_similarity,
        "pi_sha256": pi.sha256,
        "tokenizer": spans.name if spans else None,
        "runs": {name: _digest(run.lock) for name, run in named.items()},
    }
    (out / DATA).mkdir(parents=True)
    with ExitStack() as stack:
        writers = {
            source: stack.enter_context(
                triple_writer(out / DATA / f"{source}.parquet", {"pi_source": source, **shared})
            )
            for source in pi.sources
        }
        _write(named, gate, pi, decided, writers, spans, min_similarity)
    report = _report(tally, shared, pi, decided, out)
    (out / COUNTS).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    write_card(report, out)
    return report


def _attempts(
    named: dict[str, RunFolder], gate: Gate, tally: _Tally | None = None
) -> Iterator[_Attempt]:
    """The attempts that may be used, by instance, run and seed; the others are counted."""
    found: list[tuple[str, str, int, Instance, Path]] = []
    unused: Counter[str] = Counter()
    for name, run in named.items():
        for instance in run_instances(run):
            found += [
                (instance.instance_id, name, seed, instance, folder)
                for seed, folder in attempt_folders(run, instance)
            ]
    for _, name, seed, instance, folder in sorted(found, key=lambda one: one[:3]):
        refusal = gate.refusal(instance)
        if not refusal and not all(
            (folder / one).is_file() for one in ("calls.parquet", "events.jsonl")
        ):
            refusal = _NO_CALLS
        gold: tuple[GoldFile, ...] = ()
        if not refusal:
            try:
                gold = gold_files(instance)
            except ExtractionError:
                refusal = _MALFORMED
        if refusal:
            unused[refusal] += 1
        else:
            yield _Attempt(name, folder, instance, seed, gold)
    if tally is not None:
        tally.unused = unused


def _survey(attempt: _Attempt, pi: PITexts, tally: _Tally, min_similarity: float) -> None:
    """Count an attempt's states, and note of each expert state whether its PI is empty."""
    tally.attempts += 1
    turns: dict[int, list[ExpertState]] = defaultdict(list)
    for state in expert_states(attempt.folder, attempt.gold, min_similarity=min_similarity):
        if isinstance(state, ExpertState):
            turns[state.turn].append(state)
        else:
            tally.calls += 1
            tally.dropped[str(state)] += 1
    for states in turns.values():
        tally.calls += 1
        fresh = [one for one in states if (attempt.instance.instance_id, one.key) not in tally.seen]
        if not fresh:
            tally.dropped[DUPLICATE] += 1
            continue
        tally.expert_calls += 1
        for state in fresh:
            tally.seen.add((attempt.instance.instance_id, state.key))
            tally.alignments[state.target.alignment.value] += 1
            tally.rewritten += state.target.rewritten
            tally.repositories[attempt.instance.repo] += 1
            tally.instances.add(attempt.instance.instance_id)
            for source in pi.sources:
                text = pi.get(attempt.instance, source, state.edits, state.turn)
                if text is None:
                    tally.no_pi[source] += 1
                else:
                    tally.empty[source][_row_id(attempt, state)] = not text.text


def _write(
    named: dict[str, RunFolder],
    gate: Gate,
    pi: PITexts,
    decided: dict[SourceName, dict[str, Share]],
    writers: dict[SourceName, RowWriter],
    spans: TokenSpans | None,
    min_similarity: float,
) -> None:
    for attempt in _attempts(named, gate):
        found = expert_states(attempt.folder, attempt.gold, min_similarity=min_similarity)
        states = {_row_id(attempt, one): one for one in found if isinstance(one, ExpertState)}
        wanted = {one: states[one] for one in states if any(one in d for d in decided.values())}
        heavy = heavy_calls(attempt.folder, {one.turn for one in wanted.values()}) if wanted else {}
        for row_id, state in wanted.items():
            context = RowContext(
                row_id, attempt.instance, attempt.run, attempt.seed, heavy[state.turn], spans
            )
            for source, writer in writers.items():
                share = decided[source].get(row_id, Share.SURPLUS)
                if share is not Share.SURPLUS:
                    text = pi.get(attempt.instance, source, state.edits, state.turn)
                    writer.add(make_row(context, state, source, share, text))


def _row_id(attempt: _Attempt, state: ExpertState) -> str:
    parts = [attempt.run, attempt.instance.instance_id, attempt.seed, state.turn, state.number]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _report(
    tally: _Tally,
    shared: dict[str, object],
    pi: PITexts,
    decided: dict[SourceName, dict[str, Share]],
    out: Path,
) -> TriplesReport:
    sources = {}
    for source in pi.sources:
        counts = Counter(decided[source].values())
        dropped = {_NO_PI: tally.no_pi[source], _SURPLUS: counts[Share.SURPLUS]}
        sources[source.value] = SourceCounts(
            rows=len(decided[source]) - counts[Share.SURPLUS],
            given=counts[Share.GIVEN],
            empty=counts[Share.EMPTY],
            blanked=counts[Share.BLANKED],
            dropped={reason: count for reason, count in dropped.items() if count},
            sha256=_digest(out / DATA / f"{source}.parquet"),
        )
    return TriplesReport.model_validate(
        {
            **shared,
            "attempts": tally.attempts,
            "instances": len(tally.instances),
            "calls": tally.calls,
            "expert_calls": tally.expert_calls,
            "expert_states": tally.alignments.total(),
            "dropped": dict(sorted(tally.dropped.items())),
            "unused_attempts": dict(sorted(tally.unused.items())),
            "alignments": dict(sorted(tally.alignments.items())),
            "rewritten": tally.rewritten,
            "repositories": dict(sorted(tally.repositories.items())),
            "sources": sources,
            "problems": pi.problems,
        }
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
