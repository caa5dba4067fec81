"""An engine whose answers are kept: by tree, since a call's target may lie in any file of it."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from pi_extractors.base import Snapshot
from pi_extractors.call_graph.graph import Call, Engine, Graph, Symbol, SymbolId
from pi_extractors.records import Skipped

_WAIT = 60.0  # seconds for another process's write
_TABLE = """
CREATE TABLE IF NOT EXISTS answer (
    tree TEXT, scope TEXT, calls TEXT, PRIMARY KEY (tree, scope)
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

    Answers during which something was skipped, as after a time-out, are not kept. A damaged file
    is begun anew; what cannot be written is not kept.
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

    @property
    def symbols(self) -> Mapping[SymbolId, Symbol]:
        """Every definition of the repository."""
        return self._graph.symbols

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What the other graph skipped."""
        return self._graph.skipped

    def calls_from(self, scopes: Iterable[SymbolId]) -> Sequence[Call]:
        """The resolved calls made in the bodies of some definitions, by caller, line and column."""
        wanted = list(dict.fromkeys(scopes))
        found = self._answers.read(wanted)
        for scope in wanted:
            if scope not in found:
                before = len(self._graph.skipped)
                found[scope] = list(self._graph.calls_from([scope]))
                if len(self._graph.skipped) == before:
                    self._answers.keep(scope, found[scope])
        self._answers.write()
        calls = {call: None for scope in wanted for call in found[scope]}
        return sorted(calls, key=_order)

    def close(self) -> None:
        """End what the other graph started."""
        self._answers.close()
        if isinstance(self._graph, Closable):
            self._graph.close()


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

    def read(self, scopes: Iterable[SymbolId]) -> dict[SymbolId, list[Call]]:
        """What is known of some definitions."""
        query = "SELECT calls FROM answer WHERE tree = ? AND scope = ?"
        found = {}
        for scope in scopes:
            with suppress(sqlite3.Error, ValueError, TypeError):
                row = self._connection.execute(query, (self._tree, scope)).fetchone()
                if row is not None:
                    found[scope] = [Call(*call) for call in json.loads(row[0])]
        return found

    def keep(self, scope: SymbolId, calls: Iterable[Call]) -> None:
        """Remember an answer until the next `write`."""
        rows = [
            (one.caller, one.callee, one.line, one.column, one.resolver, one.confidence)
            for one in calls
        ]
        self._fresh.append((self._tree, scope, json.dumps(rows)))

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
