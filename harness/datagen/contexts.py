"""PI contexts: the text of every PI source before every turn of a run's attempts, for trainers."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.datagen.edits import EditReplay
from harness.datagen.exchange import Across, partners
from harness.datagen.run_instances import attempt_folders, named_runs, run_instances
from harness.datagen.triples_gate import TriplesError
from harness.datagen.triples_pi import PITexts
from harness.datagen.triples_states import read_events
from harness.records import Record

METADATA_KEY = b"swe_harness_contexts"
_GROUP = 10_000


class ContextsReport(Record):
    """What a file of contexts holds. missing: turns of which there is no PI, by source."""

    runs: tuple[str, ...]
    attempts: int
    turns: int
    rows: dict[str, int] = Field(description="By source.")
    empty: dict[str, int] = Field(description="Rows whose text is empty, by source.")
    missing: dict[str, int]
    shuffle: int | None
    pi_sha256: str
    problems: dict[str, str]


def make_contexts(
    runs: list[Path],
    pi: PITexts,
    out: Path,
    *,
    shuffle: int | None = None,
    across: Across = "instances",
    on_progress: Callable[[str], None] = lambda text: None,
) -> ContextsReport:
    """Write a row for each run, instance, seed, turn and source: Parquet, by instance.

    A source that depends on the edits made so far gets those before the turn. A turn is a model
    call with a whole answer. shuffle: a seed; every instance gets the PI of another one (across:
    of any, or of another repository). Raises TriplesError, ExtractionError, FileNotFoundError,
    ExchangeError.
    """
    import pyarrow.parquet as pq

    if out.exists():
        raise TriplesError(f"{out}: exists; name another file or remove it")
    named = named_runs(runs)
    found = sorted(
        (
            (instance.instance_id, name, seed, instance, folder)
            for name, run in named.items()
            for instance in run_instances(run)
            for seed, folder in attempt_folders(run, instance)
            if (folder / "calls.parquet").is_file()
        ),
        key=lambda one: one[:3],
    )
    source_of = {one[0]: one[3] for one in found}
    if shuffle is not None:
        given = partners({one: each.repo for one, each in source_of.items()}, shuffle, across)
        source_of = {one: source_of[other] for one, other in given.items()}
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("rows", "empty", "missing")}
    turns = 0
    about = {"pi_sha256": pi.sha256, "shuffle": shuffle, "runs": sorted(named)}
    if shuffle is not None:
        about["across"] = across
    metadata = {METADATA_KEY: json.dumps(about, sort_keys=True).encode()}
    schema = _schema().with_metadata(metadata)
    draft = out.with_name(f"{out.name}.draft")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with pq.ParquetWriter(draft, schema, compression="zstd") as file:
            rows: list[dict[str, Any]] = []
            for instance_id, name, seed, _, folder in found:
                on_progress(f"{instance_id}, {name}, seed {seed}")
                replay = EditReplay(read_events(folder / "events.jsonl"))
                for turn in _turns(folder / "calls.parquet"):
                    turns += 1
                    replay.advance(turn)
                    for source in pi.sources:
                        text = pi.get(source_of[instance_id], source, replay.edits, turn)
                        if text is None:
                            counts["missing"][source] += 1
                            continue
                        counts["rows"][source] += 1
                        counts["empty"][source] += not text.text
                        key = {"run": name, "instance_id": instance_id, "seed": seed, "turn": turn}
                        rows.append(key | {"source": source.value, "text": _valid(text.text)})
                if len(rows) >= _GROUP:
                    _flush(file, rows, schema)
            _flush(file, rows, schema)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return ContextsReport(
        runs=tuple(sorted(named)),
        attempts=len(found),
        turns=turns,
        shuffle=shuffle,
        pi_sha256=pi.sha256,
        problems=pi.problems,
        **{name: dict(sorted(counter.items())) for name, counter in counts.items()},
    )


def _turns(calls: Path) -> Iterator[int]:
    """The agent's turns that have a whole answer, in order."""
    import pyarrow.parquet as pq

    table = pq.read_table(calls, columns=["turn", "purpose", "status"])
    yield from sorted(
        row["turn"]
        for row in table.to_pylist()
        if row["turn"] is not None and row["purpose"] == "agent" and row["status"] == "answered"
    )


def _flush(file: Any, rows: list[dict[str, Any]], schema: Any) -> None:
    import pyarrow as pa

    if rows:
        file.write_table(pa.Table.from_pylist(rows, schema=schema))
        rows.clear()


def _schema() -> Any:
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    return pa.schema(
        [
            ("run", text),
            ("instance_id", text),
            ("seed", number),
            ("turn", number),
            ("source", text),
            ("text", text),
        ]
    )


def _valid(text: str) -> str:
    """The text with halves of characters, which no file can hold, as `?`."""
    return text.encode(errors="replace").decode()
