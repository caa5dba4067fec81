"""What a student sees, learns from or leaves, as pieces of bytes with their places."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.environments.lint.archives import TooLargeError, members
from harness.leakage.taint import Scanner, Sighting
from harness.records import RunFolder
from harness.suites.errors import SuiteError
from harness.suites.rows import Unreadable, read_rows

_BLOCK = 1024 * 1024
_OVERLAP = 1024  # a canary in the widest encoding that is broken up has room in it
_PACKED_FILE = 64 * 1024 * 1024


class Sink(StrEnum):
    """Where a canary may turn up."""

    PROMPT = "prompt"
    ANSWER = "answer"
    EVENTS = "events"
    LOG = "log"
    PATCH = "patch"
    PREDICTIONS = "predictions"
    PI = "PI"
    TRIPLES = "training rows"
    SANDBOX = "sandbox"


@dataclass(frozen=True)
class Place:
    """A sighting and where it is."""

    sink: Sink
    file: str
    at: str
    sighting: Sighting
    row: dict[str, Any] | None = None  # of PI and training rows
    column: str = ""


def run_places(scanner: Scanner, run: Path) -> Iterator[Place]:
    """The sightings in a run: prompts and answers, events, logs, patches, predictions.

    What graders and the harness keep (grades, rows, reports) is no student's.
    """
    folder = RunFolder(run)
    for attempt in sorted((run / "attempts").glob("*/[!.]*")):
        calls = attempt / "calls.parquet"
        if calls.is_file():
            yield from call_places(scanner, calls)
        for name, sink in (("events.jsonl", Sink.EVENTS), ("patch.diff", Sink.PATCH)):
            if (attempt / name).is_file():
                yield from line_places(scanner, attempt / name, sink)
        logs = attempt / "logs"
        for path in sorted(logs.rglob("*")) if logs.is_dir() else ():
            if path.is_file() and not path.is_symlink():
                yield from line_places(scanner, path, Sink.LOG)
                yield from _packed(scanner, path)
    if folder.predictions.is_file():
        yield from line_places(scanner, folder.predictions, Sink.PREDICTIONS)


def call_places(scanner: Scanner, path: Path) -> Iterator[Place]:
    """The sightings in the requests and answers of `calls.parquet`.

    A request repeats the one before and adds to it: what is equal is searched once.
    """
    import pyarrow.parquet as pq

    before = b""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=16, columns=["call", "request", "response"]):
            for row in batch.to_pylist():
                at = f"call {row['call']}"
                request = (row["request"] or "").encode()
                same = max(0, _common(before, request) - _OVERLAP)
                before = request or before
                for sighting in _in_blocks(scanner, request[same:]):
                    yield Place(Sink.PROMPT, str(path), at, sighting)
                for sighting in _in_blocks(scanner, (row["response"] or "").encode()):
                    yield Place(Sink.ANSWER, str(path), at, sighting)


def line_places(scanner: Scanner, path: Path, sink: Sink) -> Iterator[Place]:
    """The sightings in a text file, by line; memory is bounded whatever the file."""
    number, tail = 1, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            block += file.readline(_BLOCK)
            found = scanner.scan(tail + block)
            if found:
                yield from _located(scanner, block, number, found, str(path), sink)
            number += block.count(b"\n")
            tail = block[-_OVERLAP:]


def row_places(scanner: Scanner, path: Path, sink: Sink) -> Iterator[Place]:
    """The sightings in rows of JSONL or Parquet, by row and column; numbers are not read.

    Raises SuiteError for a file that cannot be read.
    """
    for number, row in _text_columns(path) if path.suffix == ".parquet" else read_rows(path):
        if isinstance(row, Unreadable) or not isinstance(row, dict):
            continue
        for column, value in row.items():
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            for sighting in _in_blocks(scanner, text.encode(errors="replace")):
                yield Place(sink, str(path), f"row {number}", sighting, row=row, column=column)


def _text_columns(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            kinds = {each.name: str(each.type) for each in file.schema_arrow}
            columns = [name for name, kind in kinds.items() if "string" in kind or "json" in kind]
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:
        raise SuiteError(f"{path}: damaged after row {number}: {error}") from None


def _located(
    scanner: Scanner, block: bytes, number: int, found: Iterable[Sighting], file: str, sink: Sink
) -> Iterator[Place]:
    whole = {each.planted.canary if each.planted else "": each for each in found}
    left = dict(whole)
    for line, text in enumerate(block.split(b"\n"), start=number):
        for sighting in scanner.scan(text):
            key = sighting.planted.canary if sighting.planted else ""
            left.pop(key, None)
            if key not in whole:  # half of one that goes on in the next line
                continue
            yield Place(sink, file, str(line), sighting, row=_row(text))
    last = number + block.count(b"\n")
    for sighting in left.values():  # over several lines
        yield Place(sink, file, f"{number}-{last}", sighting)


def _row(text: bytes) -> dict[str, Any] | None:
    """What a line says as JSON, if it does."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _packed(scanner: Scanner, path: Path) -> Iterator[Place]:
    if path.stat().st_size > _PACKED_FILE:
        return
    try:
        for name, content in members(path.name, path.read_bytes()):
            for sighting in _in_blocks(scanner, content):
                yield Place(Sink.LOG, str(path), name.partition("!/")[2] or "packed", sighting)
    except TooLargeError:
        return


def _in_blocks(scanner: Scanner, data: bytes) -> list[Sighting]:
    if len(data) <= _BLOCK:
        return scanner.scan(data)
    found: dict[str, Sighting] = {}
    for start in range(0, len(data), _BLOCK):
        for sighting in scanner.scan(data[max(0, start - _OVERLAP) : start + _BLOCK]):
            found.setdefault(sighting.planted.canary if sighting.planted else "", sighting)
    return list(found.values())


def _common(one: bytes, other: bytes) -> int:
    """The length of the common beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
