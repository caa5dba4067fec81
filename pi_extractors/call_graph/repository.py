"""A repository's index: its files' summaries, read when needed, and where each name occurs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pi_extractors.base import Snapshot
from pi_extractors.call_graph.collection import no_collection
from pi_extractors.call_graph.extract import summarise
from pi_extractors.call_graph.graph import Symbol, SymbolId
from pi_extractors.call_graph.source_text import UnreadableSourceError, decode
from pi_extractors.call_graph.store import Store, pack
from pi_extractors.call_graph.summary import CLASS, MODULE, CallRow, Outline, Scope
from pi_extractors.records import Skipped

LARGEST = 4_000_000
"""Bytes of a file that is read; generated tables above it define next to nothing."""
BATCH = 100
KINDS = ("module", "class", "function", "function")


@dataclass(slots=True)
class File:
    """A file's summary, for resolving."""

    outlines: list[Outline]
    scopes: list[Scope]
    defs: list[list[Any]]
    calls: list[CallRow]
    stores: list[list[Any]]
    old: bool
    named: dict[str, list[int]]  # calls by the name that they call


class Repository:
    """Everything that the linker knows of a snapshot.

    `defined`: file and scope of every function and class by name; `called`: files by the name that
    they call; `derived`: file and scope of classes by the last name of a base.
    """

    def __init__(self, snapshot: Snapshot, store: Store) -> None:
        self.snapshot = snapshot
        self.store = store
        self.blobs = {path: blob for path, blob in snapshot.files.items() if path.endswith(".py")}
        self._files: dict[str, File] = {}
        self._outlines: dict[str, list[Outline]] = {}
        tree = store.tree(snapshot.identity)
        if tree is None:
            tree = self._index()
            store.add_tree(snapshot.identity, tree)
        self.paths: list[str] = tree["paths"]
        self.path_set = frozenset(self.paths)
        self.defined: dict[str, list[list[int]]] = tree["defined"]
        self.called: dict[str, list[int]] = tree["called"]
        self.derived: dict[str, list[list[int]]] = tree["derived"]
        self.counts: list[int] = tree["counts"]
        self.skipped = [Skipped(path=path, reason=reason) for path, reason in tree["skipped"]]

    def _index(self) -> dict[str, Any]:
        heads = dict(self.store.heads(self.blobs.values()))
        skipped: list[tuple[str, str]] = []
        self._summarise(heads)
        paths = [path for path, blob in self.blobs.items() if heads[blob].get("outlines")]
        defined: dict[str, list[list[int]]] = {}
        called: dict[str, list[int]] = {}
        derived: dict[str, list[list[int]]] = {}
        for path, blob in self.blobs.items():
            skipped += [(path, reason) for reason in heads[blob]["notes"]]
        for at, path in enumerate(paths):
            head = heads[self.blobs[path]]
            for scope, row in enumerate(head["outlines"]):
                if row[0] != MODULE:
                    defined.setdefault(row[1], []).append([at, scope])
            for name in head["called"]:
                called.setdefault(name, []).append(at)
            for name, scope in head["bases"]:
                derived.setdefault(name, []).append([at, scope])
        called = {name: files for name, files in called.items() if name in defined}
        counts = [len(heads[self.blobs[path]]["outlines"]) for path in paths]
        return {
            "paths": paths,
            "defined": defined,
            "called": called,
            "derived": derived,
            "counts": counts,
            "skipped": skipped,
        }

    def _summarise(self, heads: dict[str, Any]) -> None:
        """Add the heads of the blobs that the store does not have."""
        fresh: dict[str, tuple[bytes, bytes]] = {}
        for path, blob in self.blobs.items():
            if blob in heads:
                continue
            head, body = self._read(path)
            try:
                fresh[blob] = pack(head), pack(body)
            except TypeError:
                head = {"notes": ["is nested too deeply: left out"]}
                fresh[blob] = pack(head), pack({})
            heads[blob] = head
            if len(fresh) >= BATCH:
                self.store.add(fresh)
                fresh.clear()
        if fresh:
            self.store.add(fresh)

    def _read(self, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        data = self.snapshot.read(path)
        if len(data) > LARGEST:
            reason = f"has {len(data)} bytes, more than {LARGEST}: left out"
            return {"notes": [reason]}, {}
        try:
            text, note = decode(data)
        except UnreadableSourceError as error:
            return {"notes": [f"{error}: left out"]}, {}
        summary = summarise(text)
        notes = [note] if note else []
        if summary.error_line:
            notes.append(f"does not parse at line {summary.error_line}: read in part")
        return {**summary.head(), "notes": notes}, summary.body()

    def text(self, path: str) -> str:
        """A file's text, as it was summarised."""
        return decode(self.snapshot.read(path))[0]

    def outlines(self, path: str) -> list[Outline]:
        """The definitions of a file; raises KeyError when the index does not have it."""
        if path not in self._outlines:
            if path not in self.path_set:
                raise KeyError(path)
            self.load_outlines([path])
        return self._outlines[path]

    def load_outlines(self, paths: Sequence[str]) -> None:
        """Read the definitions of several files at once."""
        missing = [path for path in paths if path not in self._outlines]
        heads = dict(self.store.heads(self.blobs[path] for path in missing))
        for path in missing:
            rows = heads[self.blobs[path]]["outlines"]
            self._outlines[path] = [Outline(*row) for row in rows]

    def file(self, path: str) -> File:
        """The summary of a file; raises KeyError when the index does not have it."""
        if path not in self._files:
            outlines = self.outlines(path)
            body = self.store.body(self.blobs[path])
            named: dict[str, list[int]] = {}
            with no_collection():
                calls = [CallRow(*row) for row in body["calls"]]
                for at, row in enumerate(calls):
                    named.setdefault(row.name, []).append(at)
                scopes = [Scope(*row) for row in body["scopes"]]
            self._files[path] = File(
                outlines, scopes, body["defs"], calls, body["stores"], body["old"], named
            )
        return self._files[path]

    def symbol_id(self, path: str, scope: int) -> SymbolId:
        """The name of a definition."""
        outlines = self.outlines(path)
        parts: list[str] = []
        while scope > 0:
            parts.append(outlines[scope].name)
            scope = outlines[scope].parent
        return SymbolId(f"{path}::{'.'.join(reversed(parts))}")

    def owner(self, path: str, scope: int) -> int:
        """The innermost class around a scope, or -1."""
        outlines = self.outlines(path)
        while scope > 0 and outlines[scope].kind != CLASS:
            scope = outlines[scope].parent
        return scope if scope > 0 else -1


class Symbols(Mapping[SymbolId, Symbol]):
    """Every definition, built when it is looked up."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._ids: dict[str, dict[SymbolId, list[int]]] = {}

    def scopes(self, symbol: SymbolId) -> list[int]:
        """The scopes of a definition: several when it is defined again."""
        path = symbol.partition("::")[0]
        return self._of(path).get(symbol, []) if path in self._repository.path_set else []

    def _of(self, path: str) -> dict[SymbolId, list[int]]:
        if path not in self._ids:
            ids: dict[SymbolId, list[int]] = {}
            for scope in range(len(self._repository.outlines(path))):
                ids.setdefault(self._repository.symbol_id(path, scope), []).append(scope)
            self._ids[path] = ids
        return self._ids[path]

    def __getitem__(self, symbol: SymbolId) -> Symbol:
        scopes = self.scopes(symbol)
        if not scopes:
            raise KeyError(symbol)
        one = self._repository.outlines(symbol.partition("::")[0])[scopes[0]]
        kind = KINDS[one.kind]
        return Symbol(symbol, kind, one.line, one.end_line, one.signature, one.doc)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[SymbolId]:
        self._repository.load_outlines(self._repository.paths)
        for path in self._repository.paths:
            yield from self._of(path)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, symbol: object) -> bool:
        return isinstance(symbol, str) and bool(self.scopes(SymbolId(symbol)))


def is_test(path: str) -> bool:
    """Whether a file belongs to the tests by its name; `django/test` and `testing` do not."""
    *folders, name = path.split("/")
    return "tests" in folders or path.startswith("test/") or name.startswith(("test_", "conftest."))


def folder_of(path: str) -> str:
    """The folder of a file; empty for the root."""
    folder = PurePosixPath(path).parent.as_posix()
    return "" if folder == "." else folder
