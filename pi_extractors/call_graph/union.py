"""The linker first, then other resolvers about what it left open, then names."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pi_extractors.base import Snapshot
from pi_extractors.call_graph.collection import no_collection
from pi_extractors.call_graph.fallback import by_name
from pi_extractors.call_graph.graph import Call, SymbolId
from pi_extractors.call_graph.linker import (
    NAME_CONFIDENCE,
    LinkedGraph,
    Linker,
    ordered,
    store_folder,
)
from pi_extractors.call_graph.resolver import Location, Resolver, Session, Site
from pi_extractors.call_graph.store import Store
from pi_extractors.call_graph.summary import CLASS, LAMBDA, CallRow
from pi_extractors.call_graph.workspace import Workspace
from pi_extractors.records import Skipped


class UnionGraph(LinkedGraph):
    """A linked graph that asks resolvers; `close` ends them and removes their files."""

    def __init__(self, snapshot: Snapshot, store: Store, resolvers: Sequence[Resolver]) -> None:
        super().__init__(snapshot, store)
        self._resolvers = resolvers
        self._unanswered: dict[Skipped, None] = {}

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Files that were left out or read in part, and requests that got no answer."""
        return [*self.repository.skipped, *self._unanswered]

    @cached_property
    def workspace(self) -> Workspace:
        """The repository on disk."""
        return Workspace(_Texts(self.repository.paths, self.repository.text), self.roots)

    @cached_property
    def sessions(self) -> list[tuple[str, Session]]:
        """The resolvers at work."""
        return [(one.name, one.open(self.workspace)) for one in self._resolvers]

    @property
    def roots(self) -> list[str]:
        """Import roots, as resolvers want them."""
        return [one or "." for one in self.evaluator.imports.roots]

    def calls_from(self, scopes: Iterable[SymbolId]) -> Sequence[Call]:
        """The resolved calls in the bodies of definitions and of the lambdas in them."""
        calls: dict[Call, None] = {}
        for path, scope in self.bodies(scopes):
            unresolved: dict[tuple[int, int], tuple[CallRow, bool]] = {}
            with no_collection():
                for row in self.rows(path, scope):
                    linked = self.linked(path, row)
                    calls.update(dict.fromkeys(linked.calls))
                    if linked.vague:
                        unresolved[row.line, row.column] = row, linked.open
            for call in self.asked(path, unresolved):
                calls[call] = None
        return ordered(calls)

    def asked(self, path: str, rows: dict[tuple[int, int], tuple[CallRow, bool]]) -> Iterator[Call]:
        """What the resolvers say of the sites of one definition, each of what is still open.

        A site that nobody knows anything of is left to its name.
        """
        for name, session in self.sessions if rows else ():
            sites = [Site(row.line, row.column, row.name) for row, _ in rows.values() if row.name]
            if not sites:
                break
            answer = session.resolve(path, self.repository.text(path), sites)
            self._unanswered.update(dict.fromkeys(answer.skipped))
            for site, locations in answer.locations.items():
                row, _ = rows.pop((site.line, site.column))
                for location in locations:
                    target = self.definition_at(location)
                    if target is not None:
                        yield self.edge(path, row, target, name, location.confidence)
        for row, nameable in rows.values():
            for target in by_name(self.evaluator, path, row) if nameable else ():
                yield self.edge(path, row, target, "name", NAME_CONFIDENCE)

    def definition_at(self, location: Location) -> tuple[str, int] | None:
        """The function or class whose name stands at a location; a class gives its constructor."""
        path = location.path
        if path is None or path not in self.repository.path_set:
            return None
        for scope, outline in enumerate(self.repository.outlines(path)):
            if scope and outline.line == location.line and outline.kind != LAMBDA:
                if outline.kind == CLASS:
                    return self.constructor(path, scope)
                return path, scope
        return None

    def close(self) -> None:
        """End the resolvers and remove what they were given."""
        if "sessions" in self.__dict__:
            for _, session in self.sessions:
                session.close()
        if "workspace" in self.__dict__:
            self.workspace.close()


class _Texts(Mapping[str, str]):
    """Texts by path, decoded when they are looked up."""

    def __init__(self, paths: Sequence[str], read: Callable[[str], str]) -> None:
        self._paths = dict.fromkeys(paths)
        self._read = read

    def __getitem__(self, path: str) -> str:
        if path not in self._paths:
            raise KeyError(path)
        return self._read(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class UnionEngine:
    """The linker, and resolvers about what it leaves open."""

    def __init__(self, resolvers: Sequence[Resolver], folder: Path | None = None) -> None:
        """`resolvers`: in the order of asking; `folder`: of the store."""
        self._resolvers = tuple(resolvers)
        self._folder = folder or store_folder()

    @property
    def name(self) -> str:
        """As `linker+jedi`."""
        return "+".join([Linker.name, *(one.name for one in self._resolvers)])

    @property
    def version(self) -> str:
        """Of every part."""
        return ", ".join([Linker.version, *(one.version for one in self._resolvers)])

    def open(self, snapshot: Snapshot) -> UnionGraph:
        """Index a snapshot; files whose blobs were seen before cost next to nothing."""
        return UnionGraph(snapshot, Store(self._folder), self._resolvers)
