"""Symbols, call edges, and the engine contract."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NewType, Protocol

from pi_extractors.base import Snapshot
from pi_extractors.records import Skipped

SymbolId = NewType("SymbolId", str)
"""`path::Class.method`; `path::` is the module itself."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A definition: module, class, function or method."""

    id: SymbolId
    kind: Literal["module", "class", "function"]
    line: int  # of the name, from 1; 1 for a module
    end_line: int
    signature: str  # as `(self, name, *, cached=False)`; base classes for a class
    summary: str  # the docstring's first line

    @property
    def path(self) -> str:
        """The file, relative to the repository's root."""
        return self.id.partition("::")[0]

    @property
    def qualname(self) -> str:
        """The dotted name within the module; empty for the module itself."""
        return self.id.partition("::")[2]


@dataclass(frozen=True, slots=True)
class Call:
    """A call site and one definition that it may run.

    A class that is called runs its constructor: the callee is `__init__` where the repository
    defines it, else the class.
    """

    caller: SymbolId
    callee: SymbolId
    line: int  # of the call expression's callee name, from 1
    column: int  # code points, from 0
    resolver: str  # as `linker`, `jedi`, `pylsp`, `name`
    confidence: float  # in [0, 1]; `name` alone (the name is unique in the repository) is low


class Graph(Protocol):
    """A repository's index, opened by an engine."""

    @property
    def symbols(self) -> Mapping[SymbolId, Symbol]:
        """Every definition of the repository."""
        ...

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Files that were left out or read in part, and requests that got no answer."""
        ...

    def calls_from(self, scopes: Iterable[SymbolId]) -> Sequence[Call]:
        """The resolved calls made in the bodies of some definitions, by caller, line and column."""
        ...


class Engine(Protocol):
    """Resolves calls. `name` and `version` are part of a record's provenance."""

    @property
    def name(self) -> str:
        """As `linker`, `linker+jedi`."""
        ...

    @property
    def version(self) -> str:
        """Changes when equal input may give other output."""
        ...

    def open(self, snapshot: Snapshot) -> Graph:
        """Index a snapshot; files whose blobs were seen before cost next to nothing."""
        ...
