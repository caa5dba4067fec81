"""Summaries by blob, and indexes by tree, in one SQLite file that processes share."""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from pi_extractors.call_graph.collection import no_collection
from pi_extractors.call_graph.summary import VERSION

CHUNK = 500
WAIT = 60.0  # seconds for another process's write


class Store:
    """Everything in it can be made again; a damaged file is begun anew.

    Keys are content hashes and the extractor's version is in the file's name, so entries are never
    changed, only added.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / f"summaries-{VERSION}.sqlite"
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError:
            self.file.unlink(missing_ok=True)
            self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.file, timeout=WAIT, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS summary (blob TEXT PRIMARY KEY, head BLOB, body BLOB)"
            " WITHOUT ROWID"
        )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS tree (identity TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID"
        )
        return connection

    def heads(self, blobs: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """The heads of the blobs that are known, in no order."""
        wanted = list(dict.fromkeys(blobs))
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            marks = ",".join("?" * len(part))
            query = f"SELECT blob, head FROM summary WHERE blob IN ({marks})"  # noqa: S608
            for blob, head in self._connection.execute(query, part):
                yield blob, _unpack(head)

    def body(self, blob: str) -> Any:
        """The body of a blob's summary; None when it is unknown."""
        row = self._connection.execute(
            "SELECT body FROM summary WHERE blob = ?", (blob,)
        ).fetchone()
        return _unpack(row[0]) if row else None

    def add(self, summaries: Mapping[str, tuple[bytes, bytes]]) -> None:
        """Packed heads and bodies by blob."""
        rows = [(blob, head, body) for blob, (head, body) in summaries.items()]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR IGNORE INTO summary VALUES (?, ?, ?)", rows)
        self._connection.execute("COMMIT")

    def tree(self, identity: str) -> Any:
        """The index of a tree; None when it is unknown."""
        row = self._connection.execute(
            "SELECT data FROM tree WHERE identity = ?", (identity,)
        ).fetchone()
        return _unpack(row[0]) if row else None

    def add_tree(self, identity: str, data: Any) -> None:
        """Keep the index of a tree."""
        self._connection.execute("INSERT OR IGNORE INTO tree VALUES (?, ?)", (identity, pack(data)))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def pack(value: Any) -> bytes:
    """Compact bytes of a JSON value; raises TypeError when it is nested too deeply."""
    return zlib.compress(orjson.dumps(value), 1)


def _unpack(data: bytes) -> Any:
    with no_collection():
        return orjson.loads(zlib.decompress(data))
