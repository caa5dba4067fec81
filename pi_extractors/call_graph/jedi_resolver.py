"""Jedi, in process: one fresh script for each definition, since a shared one drifts."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pi_extractors.call_graph.deadline import DeadlineExceededError, within
from pi_extractors.call_graph.resolver import Answer, Location, Session, Site
from pi_extractors.call_graph.workspace import Workspace
from pi_extractors.records import Skipped

if TYPE_CHECKING:
    from jedi.api.classes import Name  # type: ignore[import-untyped]

REQUEST_SECONDS = 10.0
SESSION_SECONDS = 120.0


class Jedi:
    """Starts sessions with jedi; `request`: seconds for one definition, `session`: for all."""

    name = "jedi"

    def __init__(self, request: float = REQUEST_SECONDS, session: float = SESSION_SECONDS) -> None:
        self._request = request
        self._session = session

    @property
    def version(self) -> str:
        """Of this resolver and of jedi."""
        import jedi  # type: ignore[import-untyped]

        return f"2 ({jedi.__version__})"

    def open(self, workspace: Workspace) -> Session:
        """Start on a repository."""
        return _JediSession(workspace, self._request, self._session)


class _JediSession:
    def __init__(self, workspace: Workspace, request: float, session: float) -> None:
        self._workspace = workspace
        self._request = request
        self._left = session
        self._cache: tempfile.TemporaryDirectory[str] | None = None

    def resolve(self, path: str, text: str, sites: Sequence[Site]) -> Answer:
        """Ask about the sites of one definition."""
        if self._left <= 0:
            return Answer(skipped=[Skipped(path=path, reason="jedi: no time left to ask")])
        found: dict[Site, Sequence[Location]] = {}
        started = time.monotonic()
        limit = min(self._request, self._left)
        skipped: list[Skipped] = []
        try:
            within(limit, lambda: self._ask(path, text, sites, found))
        except DeadlineExceededError as error:
            if error.stuck:
                self._left = 0
            skipped.append(Skipped(path=path, reason=f"jedi: {error} at line {sites[0].line}"))
        except (Exception, RecursionError) as error:  # jedi raises what it likes on odd code
            reason = f"jedi: {type(error).__name__} at line {sites[0].line}"
            skipped.append(Skipped(path=path, reason=reason))
        self._left -= time.monotonic() - started
        return Answer(dict(found), skipped)

    def _ask(
        self, path: str, text: str, sites: Sequence[Site], found: dict[Site, Sequence[Location]]
    ) -> None:
        import jedi

        from pi_extractors.call_graph.jedi_environment import Environment

        if self._cache is None:
            self._cache = tempfile.TemporaryDirectory(prefix="call-graph-jedi-")
        jedi.settings.cache_directory = self._cache.name
        jedi.settings.auto_import_modules = []
        project = jedi.Project(
            self._workspace.root,
            sys_path=[str(one) for one in self._workspace.search_path],
            smart_sys_path=False,
        )
        script = jedi.Script(
            text,
            path=self._workspace.root / path,
            project=project,
            environment=Environment(),
        )
        for site in sites:
            locations = [
                self._location(one)
                for one in script.infer(site.line, site.column)
                if one.type in ("function", "class")
            ]
            if locations:
                found[site] = list(dict.fromkeys(locations))

    def _location(self, name: "Name") -> Location:
        module: Path | None = name.module_path
        path = self._workspace.relative(module)
        return Location(path, name.line or 0) if path else Location(None)

    def close(self) -> None:
        """Remove jedi's cache."""
        if self._cache is not None:
            self._cache.cleanup()
            self._cache = None
