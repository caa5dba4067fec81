"""Raw rows out of JSONL, JSON and Parquet files. Nothing here trusts the file."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from harness.suites.errors import SuiteError

MAX_ROW_BYTES = 64 * 1024 * 1024
MAX_JSON_BYTES = 1024 * 1024 * 1024
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")


class Unreadable(str):
    """Why a row could not be read at all."""

    __slots__ = ()


Row = tuple[int, Any]
"""Number and value of a row, which is `Unreadable` where there is none. A row's number is its
line in JSONL and its position, counted from 1, elsewhere."""


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, by its suffix.

    Raises SuiteError when the file is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise SuiteError(f"{path}: no such file")
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz")):
        return _jsonl(path)
    if name.endswith(".json"):
        return _json(path)
    if name.endswith(".parquet"):
        return _parquet(path)
    raise SuiteError(f"{path}: unknown kind of file; expected one of {', '.join(SUFFIXES)}")


def read_lines(path: Path) -> Iterator[tuple[int, bytes | Unreadable]]:
    """The lines of a JSONL file, plain or gzip, that are not blank, with their numbers.

    Raises SuiteError when the file is missing or damaged.
    """
    number = 0
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(_lines(cast(BinaryIO, file)), start=1):
                if isinstance(line, Unreadable) or line.strip():
                    yield number, line
    except FileNotFoundError:
        raise SuiteError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SuiteError(f"{path}: damaged after row {number}: {error}") from None


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in read_lines(path):
        yield number, line if isinstance(line, Unreadable) else _parse(line)


def _lines(file: BinaryIO) -> Iterator[bytes | Unreadable]:
    """Lines of at most MAX_ROW_BYTES; a longer one is skipped, never held in memory."""
    while line := file.readline(MAX_ROW_BYTES):
        if len(line) < MAX_ROW_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_ROW_BYTES)
        yield Unreadable(f"longer than {MAX_ROW_BYTES} bytes")


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Unreadable(f"not UTF-8 at byte {error.start + 1}")
    except json.JSONDecodeError as error:
        return Unreadable(f"not JSON: {error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:
        return Unreadable(f"not JSON: {error}")


def _json(path: Path) -> Iterator[Row]:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise SuiteError(f"{path}: larger than {MAX_JSON_BYTES} bytes; use JSONL or Parquet")
    value = _parse(path.read_bytes())
    if isinstance(value, Unreadable):
        raise SuiteError(f"{path}: {value}")
    if not isinstance(value, list):
        raise SuiteError(f"{path}: expected a list of rows, found {type(value).__name__}")
    yield from enumerate(value, start=1)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=64):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise SuiteError(f"{path}: damaged after row {number}: {error}") from None
