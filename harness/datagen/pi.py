"""PI of many instances: sources made from options, extraction in parallel, resume."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

from pydantic import Field, ValidationError

from harness.datagen.pi_file import Key, RecordFile
from harness.datagen.pi_sources import PIOptions, make_counter, make_sources
from harness.datagen.snapshots import Opened, Snapshots
from harness.environments.errors import ImageError
from harness.environments.known_recipes import known_recipes
from harness.records import Instance, Question, Record
from harness.records.cache import cache_root
from pi_extractors.base import ExtractionError
from pi_extractors.cache import CacheableSource, PICache, provenance_key, record_key
from pi_extractors.gold_answer import GoldAnswerSource
from pi_extractors.records import PIRecord, SourceName

_BATCH = 4


class Made(Record):
    """What became of one instance."""

    instance_id: str
    records: tuple[PIRecord, ...] = ()
    kept: int = Field(0, description="Records that were there already, of equal provenance.")
    origin: str = Field("", description="Where the snapshot was from; empty when none was needed.")
    problems: tuple[str, ...] = ()


def extract_answers(questions: Path, options: PIOptions, out: Path) -> int:
    """Extract the PI of a mathematical suite (JSONL of `Question`); return how many records.

    Raises ExtractionError naming the first bad line.
    """
    source = GoldAnswerSource(make_counter(options), options.budgets.get(SourceName.GOLD_ANSWER))
    rows = []
    for number, line in enumerate(questions.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(Question.model_validate_json(line))
            except ValidationError as error:
                said = error.errors()[0]
                raise ExtractionError(
                    f"{questions}: line {number}: {'.'.join(map(str, said['loc']))}: {said['msg']}"
                ) from None
    with RecordFile.open(out) as file:
        for row in rows:
            file.add(source.extract(row))
        file.finish(row.id for row in rows)
    return len(rows)


def plan(instances: Iterable[Instance], options: PIOptions) -> Iterator[Made]:
    """Where the snapshot of each instance would come from; nothing is extracted."""
    needed = any(source.reads_repository for source in make_sources(options))
    snapshots = _snapshots(options)
    for instance in instances:
        origin = ""
        problems: tuple[str, ...] = ()
        try:
            if needed:
                with snapshots.open(instance) as opened:
                    origin = opened.origin
        except ImageError as error:
            problems = (str(error),)
        yield Made(instance_id=instance.instance_id, origin=origin, problems=problems)


def extract_suite(
    instances: Sequence[Instance],
    options: PIOptions,
    out: Path,
    *,
    workers: int = 1,
    on_made: Callable[[Made], None] = lambda made: None,
) -> list[Made]:
    """Extract the PI of instances into a file of records, at step 0 where steps matter.

    A record that the file has with equal provenance is not made again. An instance that fails
    stops no other. Raises ExtractionError for bad options or a file in use.
    """
    list(make_sources(options))
    results = []
    with RecordFile.open(out) as file:
        for made in _run(instances, options, file.records, workers):
            for record in made.records:
                file.add(record)
            results.append(made)
            on_made(made)
        order = [instance.instance_id for instance in instances]
        file.finish(order)
    return sorted(results, key=lambda made: order.index(made.instance_id))


def _run(
    instances: Sequence[Instance],
    options: PIOptions,
    present: Mapping[Key, PIRecord],
    workers: int,
) -> Iterator[Made]:
    """Results as they come. Instances of one repository go together: their files are the same."""
    known: dict[str, dict[Key, str]] = {}
    for key, record in present.items():
        known.setdefault(record.instance_id, {})[key] = record_key(record)
    ordered = sorted(instances, key=lambda one: (one.repo, one.version, one.instance_id))
    if workers == 1:
        yield from extract_batch(ordered, options, known)
        return
    batches = [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, end_with_parent) as pool:
        futures = [
            pool.submit(
                _batch_list,
                batch,
                options,
                {one.instance_id: known.get(one.instance_id, {}) for one in batch},
            )
            for batch in batches
        ]
        try:
            for future in as_completed(futures):
                yield from future.result()
        except BrokenProcessPool:
            raise ExtractionError(
                "a worker process died, for want of memory perhaps; what was made is kept: "
                "the same command continues, with fewer --workers if need be"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """Let this worker process end when the one that started it is gone, however it went."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def _batch_list(
    instances: Sequence[Instance], options: PIOptions, known: Mapping[str, Mapping[Key, str]]
) -> list[Made]:
    return list(extract_batch(instances, options, known))


def extract_batch(
    instances: Iterable[Instance],
    options: PIOptions,
    known: Mapping[str, Mapping[Key, str]],
) -> Iterator[Made]:
    """Extract instances one after the other; `known` has the provenance keys of their records."""
    sources = list(make_sources(options))
    snapshots = _snapshots(options)
    cache = PICache(cache_root() / "pi") if options.use_cache else None
    for instance in instances:
        yield _extract(instance, sources, snapshots, cache, known.get(instance.instance_id, {}))


def _extract(
    instance: Instance,
    sources: Sequence[CacheableSource[Instance]],
    snapshots: Snapshots,
    cache: PICache | None,
    known: Mapping[Key, str],
) -> Made:
    records = []
    problems = []
    kept = 0
    opened: Opened | None = None
    with ExitStack() as stack:
        if any(source.reads_repository for source in sources):
            try:
                opened = stack.enter_context(snapshots.open(instance))
            except ImageError as error:
                problems.append(str(error))
        for source in sources:
            if source.reads_repository and opened is None:
                continue
            snapshot = opened.snapshot if opened and source.reads_repository else None
            step = 0 if source.name is SourceName.NEXT_FILE else None
            try:
                key = provenance_key(
                    source, instance.instance_id, source.inputs(instance, snapshot)
                )
                if known.get((instance.instance_id, source.name, step)) == key:
                    kept += 1
                    continue
                if cache:
                    record = cache.extract(source, instance.instance_id, instance, snapshot)
                else:
                    record = source.extract(instance, snapshot)
            except ExtractionError as error:
                problems.append(f"{instance.instance_id}: {source.name}: {error}")
                continue
            records.append(_with_origin(record, opened if snapshot else None))
    return Made(
        instance_id=instance.instance_id,
        records=tuple(records),
        kept=kept,
        origin=opened.origin if opened else "",
        problems=tuple(problems),
    )


def _with_origin(record: PIRecord, opened: Opened | None) -> PIRecord:
    """The record with a note of where its snapshot was from."""
    if opened is None:
        return record
    notes = (*record.provenance.notes, f"snapshot: {opened.origin}")
    return record.model_copy(
        update={"provenance": record.provenance.model_copy(update={"notes": notes})}
    )


def _snapshots(options: PIOptions) -> Snapshots:
    return Snapshots(
        repos=options.repos,
        recipes=known_recipes(),
        cache=cache_root(),
        releases=options.releases,
    )
