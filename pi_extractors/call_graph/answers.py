"""An engine whose answers are kept: by tree, since a call may lead to any file of it."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from pi_extractors.base import Snapshot
from pi_extractors.call_graph.graph import Call, Engine, Graph, Symbol, SymbolId
from pi_extractors.records import Skipped

_LONG = 1.0  # seconds
_WAIT = 60.0  # seconds for another process's write


@runtime_checkable
class Closable(Protocol):
    """A graph that has processes or files to give back."""

    def close(self) -> None:
        """Give them back."""
        ...


class CachedEngine:
    """Asks another engine what it was not asked before about the same tree.

    An engine may answer by what it was asked earlier, so an answer counts for the same questions
    in the same order only. One that lacks something is kept, with what it lacks, when it took
    long, as after a time-out; else it is asked for again. A damaged file is begun anew.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    @property
    def name(self) -> str:
        """The other engine's."""
        return self._engine.name

    @property
    def version(self) -> str:
        """The other engine's."""
        return self._engine.version

    def open(self, snapshot: Snapshot) -> "CachedGraph":
        """Index a snapshot."""
        key = _key(self.name, self.version, snapshot.identity)
        return CachedGraph(self._engine.open(snapshot), _Answers(self._folder), key)


class CachedGraph:
    """A graph, and what it was asked before."""

    def __init__(self, graph: Graph, answers: "_Answers", key: str) -> None:
        self._graph = graph
        self._answers = answers
        self._key = key  # of the tree and all questions so far
        self._unasked: list[list[SymbolId]] = []
        self._skipped = dict.fromkeys(graph.skipped)

    @property
    def symbols(self) -> Mapping[SymbolId, Symbol]:
        """Every definition of the repository."""
        return self._graph.symbols

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What the other graph skips now, or did when it was asked."""
        return tuple(self._skipped)

    def calls_from(self, scopes: Iterable[SymbolId]) -> Sequence[Call]:
        """The resolved calls made in the bodies of some definitions, by caller, line and column."""
        wanted = list(dict.fromkeys(scopes))
        self._key = _key(self._key, *wanted)
        self._unasked.append(wanted)
        answer = self._answers.read(self._key) or self._ask()
        self._skipped.update(dict.fromkeys(answer.skipped))
        return answer.calls

    def _ask(self) -> "_Answer":
        *earlier, wanted = self._unasked
        for scopes in earlier:
            self._graph.calls_from(scopes)
        self._unasked.clear()
        before = len(self._graph.skipped)
        began = time.monotonic()
        calls = self._graph.calls_from(wanted)
        answer = _Answer(calls, self._graph.skipped[before:])
        if not answer.skipped or time.monotonic() - began >= _LONG:
            self._answers.keep(self._key, answer)
        return answer

    def close(self) -> None:
        """End what the other graph started."""
        self._answers.close()
        if isinstance(self._graph, Closable):
            self._graph.close()


@dataclass(frozen=True, slots=True)
class _Answer:
    """The calls of one definition, and what could not be found out about them."""

    calls: Sequence[Call]
    skipped: Sequence[Skipped]


class _Answers:
    """The kept answers, by key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "answers-1.sqlite"
        try:
            self._connection = _open(file)
        except sqlite3.DatabaseError:
            file.unlink(missing_ok=True)
            self._connection = _open(file)

    def read(self, key: str) -> _Answer | None:
        """What is known; None for nothing, or what cannot be read."""
        with suppress(sqlite3.Error, ValueError, TypeError):
            query = "SELECT answer FROM answer WHERE key = ?"
            row = self._connection.execute(query, (key,)).fetchone()
            if row is not None:
                calls, skipped = json.loads(row[0])
                return _Answer(
                    [Call(*call) for call in calls],
                    [Skipped(path=path, reason=reason) for path, reason in skipped],
                )
        return None

    def keep(self, key: str, answer: _Answer) -> None:
        """Add an answer, if the file can be written."""
        calls = [
            (one.caller, one.callee, one.line, one.column, one.resolver, one.confidence)
            for one in answer.calls
        ]
        skipped = [(one.path, one.reason) for one in answer.skipped]
        row = (key, json.dumps([calls, skipped]))
        with suppress(sqlite3.Error), self._connection:
            self._connection.execute("INSERT OR IGNORE INTO answer VALUES (?, ?)", row)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=_WAIT)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS answer (key TEXT PRIMARY KEY, answer TEXT) WITHOUT ROWID"
    )
    return connection


def _key(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
