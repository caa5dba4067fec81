"""The rows of a suite with their bytes, however the suite is named."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from harness.suites import SuiteError, load_manifest, suite_names
from harness.suites.hub import read_hub
from harness.suites.load import load_suite, split_ids
from harness.suites.manifests import rows_file
from harness.suites.rows import Unreadable, read_lines, read_rows

_JSONL = (".jsonl", ".jsonl.gz")


class RawRow(NamedTuple):
    """A row: its number, its line without a line feed, and its value or why there is none."""

    number: int
    line: bytes
    value: Any


@dataclass(frozen=True)
class RowSource:
    """Rows that can be read more than once, always in the same order.

    A JSONL file's lines are its own bytes. Rows of another kind are lines of JSON in the dataset's
    columns.
    """

    name: str
    path: Path | None
    split: str | None = None
    revision: str | None = None
    ids: frozenset[str] | None = None

    def __iter__(self) -> Iterator[RawRow]:
        for row in self._all():
            if self.ids is None or (
                isinstance(row.value, dict) and row.value.get("instance_id") in self.ids
            ):
                yield row

    def _all(self) -> Iterator[RawRow]:
        if self.path is not None and self.path.name.lower().endswith(_JSONL):
            for number, line in read_lines(self.path):
                yield _parsed(number, line)
            return
        if self.path is not None:
            rows = read_rows(self.path)
        else:
            rows = read_hub(self.name, split=self.split or "test", revision=self.revision).rows
        for number, value in rows:
            if isinstance(value, Unreadable):
                yield RawRow(number, b"", value)
            else:
                line = json.dumps(value, ensure_ascii=False, default=str).encode(errors="replace")
                yield RawRow(number, line, value)


def open_rows(reference: str, *, split: str | None = None, rows: Path | None = None) -> RowSource:
    """The rows of a suite: a shipped name, a file, or a hub dataset, as `load_suite` takes them.

    `rows` is a local file for a shipped suite that fixes ids only. Raises SuiteError.
    """
    path = Path(reference)
    name, _, part = reference.partition("/")
    if path.is_file():
        return RowSource(path.name, path)
    if name in suite_names():
        manifest = load_manifest(name)
        ids = frozenset(split_ids(manifest, part or split))
        load_suite(reference, split=split, rows=rows)  # checks ids and digests
        if manifest.kind == "rows" or rows is not None:
            return RowSource(reference, rows or rows_file(manifest), part or split, None, ids)
        assert manifest.dataset is not None
        return RowSource(manifest.dataset, None, split, manifest.revision, ids)
    if "/" not in reference or path.suffix in (".jsonl", ".json", ".gz", ".parquet"):
        load_suite(reference)  # raises, saying which names there are
        raise SuiteError(f"{reference}: no such file")
    dataset, _, pinned = reference.partition("@")
    split = split or "test"
    found = read_hub(dataset, split=split, revision=pinned or None)
    return RowSource(dataset, None, split, found.revision)


class LineDigest:
    """SHA-256 over lines, each with a line feed."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Take a line without its line feed."""
        self._digest.update(line)
        self._digest.update(b"\n")

    @property
    def hex(self) -> str:
        """The digest so far."""
        return self._digest.hexdigest()


def _parsed(number: int, line: bytes | Unreadable) -> RawRow:
    if isinstance(line, Unreadable):
        return RawRow(number, b"", line)
    bare = line.removesuffix(b"\n")
    try:
        return RawRow(number, bare, orjson.loads(bare.removeprefix(b"\xef\xbb\xbf")))
    except orjson.JSONDecodeError as error:
        return RawRow(number, bare, Unreadable(f"not JSON: {error}"))
