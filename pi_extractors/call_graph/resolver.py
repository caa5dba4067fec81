"""What answers "which definitions may this call run?" for sites that the linker left open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pi_extractors.call_graph.workspace import Workspace
from pi_extractors.records import Skipped


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """A call expression, by the last name of its callee (`c` of `a.b.c()`)."""

    line: int  # from 1
    column: int  # code points, from 0
    name: str  # empty where the callee has no name, as in `f()()`


@dataclass(frozen=True, slots=True)
class Location:
    """Where a definition's name stands, or that it lies outside the repository."""

    path: str | None  # relative to the repository's root; None: outside
    line: int = 0  # from 1
    confidence: float = 0.9


@dataclass(frozen=True, slots=True)
class Answer:
    """Locations by site; a site without an entry got none. `skipped`: requests that failed."""

    locations: Mapping[Site, Sequence[Location]] = field(default_factory=dict)
    skipped: Sequence[Skipped] = ()


class Session(Protocol):
    """A resolver at work on one repository. Not shared between threads."""

    def resolve(self, path: str, text: str, sites: Sequence[Site]) -> Answer:
        """Ask about sites of one definition's body; bounded in time, never raises for a site.

        `text` is the file's content as the workspace has it.
        """
        ...

    def close(self) -> None:
        """End every process and free every file; may be called twice."""
        ...


class Resolver(Protocol):
    """Starts sessions. `name` becomes `Call.resolver`, `version` joins the engine's."""

    @property
    def name(self) -> str:
        """As `jedi`, `pylsp`."""
        ...

    @property
    def version(self) -> str:
        """Of the resolver and of what it asks, as `1 (0.20.1)`."""
        ...

    def open(self, workspace: Workspace) -> Session:
        """Start on a repository; processes start with the first request, not here."""
        ...
