"""An engine whose answers are kept: by tree, since a call's target may lie in any file of it."""

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
_TABLE = """
CREATE TABLE IF NOT EXISTS answer (
    tree TEXT, scope TEXT, answer TEXT, PRIMARY KEY (tree, scope)
) WITHOUT ROWID
"""


@runtime_checkable
class Closable(Protocol):
    """A graph that has processes or files to give back."""

    def close(self) -> None:
        """Give them back."""
        ...


class CachedEngine:
    """Asks another engine about definitions that it has not seen in the same tree.

    An answer that lacks something is kept, with what it lacks, when it took long, as after a
    time-out; else it is asked for again. A damaged file is begun anew.
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
        made_of = f"{self.name} {self.version} {snapshot.identity}"
        tree = hashlib.sha256(made_of.encode()).hexdigest()
        return CachedGraph(self._engine.open(snapshot), _Answers(self._folder, tree))


class CachedGraph:
    """A graph, and what it was asked before."""

    def __init__(self, graph: Graph, answers: "_Answers") -> None:
        self._graph = graph
        self._answers = answers
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
        known = self._answers.read(wanted)
        calls: dict[Call, None] = {}
        for scope in wanted:
            answer = known[scope] if scope in known else self._ask(scope)
            calls.update(dict.fromkeys(answer.calls))
            self._skipped.update(dict.fromkeys(answer.skipped))
        self._answers.write()
        return sorted(calls, key=_order)

    def _ask(self, scope: SymbolId) -> "_Answer":
        before = len(self._graph.skipped)
        began = time.monotonic()
        calls = self._graph.calls_from([scope])
        answer = _Answer(calls, self._graph.skipped[before:])
        if not answer.skipped or time.monotonic() - began >= _LONG:
            self._answers.keep(scope, answer)
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
    """The kept answers about one tree."""

    def __init__(self, folder: Path, tree: str) -> None:
        self._tree = tree
        self._fresh: list[tuple[str, str, str]] = []
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "answers-1.sqlite"
        try:
            self._connection = _open(file)
        except sqlite3.DatabaseError:
            file.unlink(missing_ok=True)
            self._connection = _open(file)

    def read(self, scopes: Iterable[SymbolId]) -> dict[SymbolId, _Answer]:
        """What is known of some definitions."""
        query = "SELECT answer FROM answer WHERE tree = ? AND scope = ?"
        found = {}
        for scope in scopes:
            with suppress(sqlite3.Error, ValueError, TypeError):
                row = self._connection.execute(query, (self._tree, scope)).fetchone()
                if row is not None:
                    calls, skipped = json.loads(row[0])
                    found[scope] = _Answer(
                        [Call(*call) for call in calls],
                        [Skipped(path=path, reason=reason) for path, reason in skipped],
                    )
        return found

    def keep(self, scope: SymbolId, answer: _Answer) -> None:
        """Remember an answer until the next `write`."""
        calls = [
            (one.caller, one.callee, one.line, one.column, one.resolver, one.confidence)
            for one in answer.calls
        ]
        skipped = [(one.path, one.reason) for one in answer.skipped]
        self._fresh.append((self._tree, scope, json.dumps([calls, skipped])))

    def write(self) -> None:
        """Write what was remembered."""
        if self._fresh:
            with suppress(sqlite3.Error), self._connection:
                self._connection.executemany(
                    "INSERT OR IGNORE INTO answer VALUES (?, ?, ?)", self._fresh
                )
            self._fresh.clear()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=_WAIT)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(_TABLE)
    return connection


def _order(call: Call) -> tuple[str, int, int, float, str]:
    return call.caller, call.line, call.column, -call.confidence, call.callee
