"""The linker: an engine that resolves calls from the summaries alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.records.cache import cache_root
from pi_extractors.base import Snapshot
from pi_extractors.call_graph.collection import no_collection
from pi_extractors.call_graph.externals import HIGHER_ORDER, Externals
from pi_extractors.call_graph.fallback import by_name
from pi_extractors.call_graph.graph import Call, Symbol, SymbolId
from pi_extractors.call_graph.repository import Repository, Symbols
from pi_extractors.call_graph.store import Store
from pi_extractors.call_graph.summary import (
    CALL,
    CALLBACK,
    DECORATOR,
    ITERATION,
    LAMBDA,
    VERSION,
    CallRow,
)
from pi_extractors.call_graph.values import (
    Bound,
    Class,
    External,
    Frame,
    Function,
    Instance,
    Partial,
    Value,
    Values,
)
from pi_extractors.records import Skipped

CONFIDENCE = 0.95
UNSURE = 0.7
"""Of several targets, or of those that flow from call sites."""
NAME_CONFIDENCE = 0.3
LINKER_VERSION = f"1.{VERSION}"


@dataclass(frozen=True, slots=True)
class Linked:
    """The calls that the linker finds at a site.

    `open`: it knows nothing of the callee; `vague`: the callee came from something external.
    """

    calls: list[Call]
    open: bool
    vague: bool


class LinkedGraph:
    """A repository's graph. Ask it from one thread."""

    def __init__(self, snapshot: Snapshot, store: Store) -> None:
        self.repository = Repository(snapshot, store)
        self._symbols = Symbols(self.repository)

    @property
    def symbols(self) -> Mapping[SymbolId, Symbol]:
        """Every definition of the repository; lambdas are `<lambda1>` and so on."""
        return self._symbols

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Files that were left out or read in part."""
        return self.repository.skipped

    @cached_property
    def evaluator(self) -> Externals:
        """What resolves; made when the first call is asked about."""
        return Externals(self.repository)

    def calls_from(self, scopes: Iterable[SymbolId]) -> Sequence[Call]:
        """The resolved calls in the bodies of definitions and of the lambdas in them."""
        calls: dict[Call, None] = {}
        with no_collection():
            for path, scope in self.bodies(scopes):
                for row in self.rows(path, scope):
                    linked = self.linked(path, row)
                    calls.update(dict.fromkeys(linked.calls))
                    for target in by_name(self.evaluator, path, row) if linked.open else ():
                        calls[self.edge(path, row, target, "name", NAME_CONFIDENCE)] = None
        return ordered(calls)

    def bodies(self, symbols: Iterable[SymbolId]) -> list[tuple[str, int]]:
        """The scopes of definitions, with the lambdas in them."""
        found: dict[tuple[str, int], None] = {}
        for symbol in symbols:
            path = symbol.partition("::")[0]
            for scope in self._symbols.scopes(symbol):
                found[path, scope] = None
                outlines = self.repository.outlines(path)
                inside = {scope}
                for at in range(scope + 1, len(outlines)):
                    if outlines[at].kind == LAMBDA and outlines[at].parent in inside:
                        inside.add(at)
                        found[path, at] = None
        return list(found)

    def rows(self, path: str, scope: int) -> list[CallRow]:
        """The call sites of a scope."""
        return [row for row in self.repository.file(path).calls if row.scope == scope]

    def constructor(self, path: str, scope: int) -> tuple[str, int]:
        """What runs when a class is called: its `__init__` in the repository, or the class."""
        made, _ = self.evaluator.unhurried(lambda: self.evaluator.constructors(Class(path, scope)))
        return (made[0].path, made[0].scope) if made else (path, scope)

    def edge(
        self, path: str, row: CallRow, target: tuple[str, int], resolver: str, confidence: float
    ) -> Call:
        """A call as the graph gives it."""
        caller = self.repository.symbol_id(path, row.scope)
        callee = self.repository.symbol_id(*target)
        return Call(caller, callee, row.line, row.column, resolver, confidence)

    def linked(self, path: str, row: CallRow) -> Linked:
        """What a site may run, by its callee's value."""
        frame = Frame(path, row.scope)
        evaluator = self.evaluator

        def ask() -> Values:
            if row.kind == CALLBACK:
                callee = evaluator.expr(row.keywords[0][1], frame)
                if not any(isinstance(v, External) and v.name in HIGHER_ORDER for v in callee):
                    return ()
            return evaluator.expr(row.callee, frame)

        values = evaluator.question(ask, frame)
        targets: dict[tuple[str, int], None] = {}
        for value in values:
            for target in self.targets(value, row.kind):
                targets[target] = None
        confidence = CONFIDENCE if len(targets) == 1 else UNSURE
        calls = [self.edge(path, row, one, "linker", confidence) for one in targets]
        asked = row.kind == CALL and not calls
        vague = all(isinstance(one, External) and not one.name for one in values)
        return Linked(calls, asked and not values, asked and vague)

    def targets(self, value: Value, kind: int) -> list[tuple[str, int]]:
        """The definitions that run when a value is called, raised or iterated over."""
        evaluator = self.evaluator
        if kind == ITERATION:
            if not isinstance(value, Instance):
                return []
            found = []
            for one in evaluator.attribute(value, "__iter__"):
                found += self.targets(one, CALL)
                for iterator in evaluator.returned(one):
                    if isinstance(iterator, Instance):
                        for name in ("__next__", "next"):
                            for method in evaluator.attribute(iterator, name):
                                found += self.targets(method, CALL)
            return found
        if isinstance(value, Class):
            return [self.constructor(value.path, value.scope)]
        if kind not in (CALL, DECORATOR, CALLBACK):
            return []
        if isinstance(value, Function):
            return [(value.path, value.scope)]
        if isinstance(value, Bound):
            return [(value.function.path, value.function.scope)]
        if isinstance(value, Partial):
            return self.targets(value.function, kind)
        if isinstance(value, Instance):
            called = evaluator.attribute(value, "__call__")
            return [
                (one.function.path, one.function.scope) for one in called if isinstance(one, Bound)
            ]
        return []


def ordered(calls: Iterable[Call]) -> list[Call]:
    """By caller, line and column; the surer first."""
    return sorted(
        calls, key=lambda one: (one.caller, one.line, one.column, -one.confidence, one.callee)
    )


def store_folder() -> Path:
    """Where summaries are kept."""
    return cache_root() / "call-graph"


class Linker:
    """Resolves calls by tree-sitter summaries, without any other tool."""

    name = "linker"
    version = LINKER_VERSION

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: of the store; the user's cache by default."""
        self._folder = folder or store_folder()

    def open(self, snapshot: Snapshot) -> LinkedGraph:
        """Index a snapshot; files whose blobs were seen before cost next to nothing."""
        return LinkedGraph(snapshot, Store(self._folder))
