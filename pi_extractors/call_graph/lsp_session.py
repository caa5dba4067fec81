"""A language server as a resolver: asked call by call, restarted when it fails, given up."""

import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pi_extractors.call_graph.lsp_client import (
    Encoding,
    LanguageServer,
    RequestRefusedError,
    ServerFailedError,
    units,
)
from pi_extractors.call_graph.resolver import Answer, Location, Site
from pi_extractors.call_graph.workspace import Workspace
from pi_extractors.records import Skipped

_DEFINITION = re.compile(r"\s*(?:async\s+def|def|class)\b")
_DECLARED, _INFERRED = 0.9, 0.8
_MAX_LOCATIONS = 64
# What `str.splitlines` takes for the end of a line and the protocol does not.
_NO_BREAKS = dict.fromkeys(map(ord, "\v\f\x1c\x1d\x1e\x85\u2028\u2029"), " ")


def _no_options(import_roots: Sequence[Path]) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class LspLimits:
    """Bounds of one session; times in seconds, memory in bytes of address space."""

    start: float = 60.0
    request: float = 10.0
    session: float = 180.0
    failures: int = 3
    memory: int = 4 * 1024**3


@dataclass(frozen=True)
class LspResolver:
    """Resolves by `textDocument/definition`, and `typeDefinition` where that is no definition.

    `options` makes a server's initialization options from the import roots on disk. `encoding`
    overrides what the server says that it counts columns in.
    """

    name: str
    version: str
    command: Sequence[str]
    options: Callable[[Sequence[Path]], Mapping[str, Any]] = _no_options
    env: Mapping[str, str] = field(default_factory=dict)
    encoding: Encoding | None = None
    limits: LspLimits = LspLimits()

    def open(self, workspace: Workspace) -> "LspSession":
        """Start on a repository; the server starts with the first request."""
        return LspSession(self, workspace)


class LspSession:
    """One repository's server. After too many failures, or too long, nothing more is asked."""

    def __init__(self, resolver: LspResolver, workspace: Workspace) -> None:
        self._resolver = resolver
        self._limits = resolver.limits
        self._workspace = workspace
        self._home = tempfile.TemporaryDirectory(prefix="call-graph-lsp-")
        self._server: LanguageServer | None = None
        self._open_path: str | None = None
        self._lines: dict[str, list[str]] = {}
        self._spent = 0.0
        self._failures = 0

    def resolve(self, path: str, text: str, sites: Sequence[Site]) -> Answer:
        """Ask about calls, one by one; those without an answer are skipped, with the reason."""
        found: dict[Site, Sequence[Location]] = {}
        reasons: dict[str, list[Site]] = {}
        lines = text.split("\n")
        for site in sites:
            began = time.monotonic()
            try:
                if locations := self._ask(path, text, lines, site):
                    found[site] = locations
            except _NotAskedError as error:
                reasons.setdefault(str(error), []).append(site)
            except RequestRefusedError:
                reasons.setdefault("the server refused", []).append(site)
            except ServerFailedError as error:
                reasons.setdefault(f"the server {error}", []).append(site)
                self._failures += 1
                self._stop()
            self._spent += time.monotonic() - began
        return Answer(found, tuple(self._skipped(path, why, at) for why, at in reasons.items()))

    def close(self) -> None:
        """Kill the server and remove its folder."""
        self._stop()
        self._home.cleanup()

    def _skipped(self, path: str, why: str, sites: Sequence[Site]) -> Skipped:
        calls = f"{len(sites)} calls, the first in line {sites[0].line}"
        return Skipped(path=path, reason=f"{self._resolver.name}: {why}: {calls}")

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = self._open_path = None

    def _seconds(self, most: float) -> float:
        return min(most, self._limits.session - self._spent)

    def _ask(self, path: str, text: str, lines: Sequence[str], site: Site) -> tuple[Location, ...]:
        if self._spent >= self._limits.session:
            raise _NotAskedError(f"not asked, {self._limits.session:g} s were used up")
        if self._failures > self._limits.failures:
            raise _NotAskedError(f"not asked, the server failed {self._failures} times")
        if not 0 < site.line <= len(lines) or site.column > len(lines[site.line - 1]):
            raise _NotAskedError("not asked, no such place in the file")
        server = self._serving(path, text)
        before = lines[site.line - 1][: site.column]
        place = {
            "textDocument": {"uri": self._uri(path)},
            "position": {"line": site.line - 1, "character": units(before, server.encoding)},
        }
        declared = self._locations(server, "textDocument/definition", place, _DECLARED)
        if declared and all(one.path is None or self._defines(one) for one in declared):
            return declared
        inferred = self._locations(server, "textDocument/typeDefinition", place, _INFERRED)
        return tuple(one for one in inferred if one.path is None or self._defines(one))

    def _serving(self, path: str, text: str) -> LanguageServer:
        """The server, started if need be, with a file open, and no other."""
        if self._server is None:
            home = Path(self._home.name)
            env = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "LC_ALL": "C.UTF-8"}
            self._server = LanguageServer(
                self._resolver.command,
                home,
                {**env, **self._resolver.env},
                memory=self._limits.memory,
            )
            options = self._resolver.options(self._workspace.search_path)
            self._server.initialize(
                self._workspace.root, options, self._seconds(self._limits.start)
            )
            self._server.encoding = self._resolver.encoding or self._server.encoding
        if self._open_path != path:
            seconds = self._seconds(self._limits.request)
            if self._open_path is not None:
                closed = {"textDocument": {"uri": self._uri(self._open_path)}}
                self._server.notify("textDocument/didClose", closed, seconds)
            document = {
                "uri": self._uri(path),
                "languageId": "python",
                "version": 1,
                "text": text.translate(_NO_BREAKS),
            }
            self._server.notify("textDocument/didOpen", {"textDocument": document}, seconds)
            self._open_path = path
        return self._server

    def _locations(
        self, server: LanguageServer, method: str, place: Mapping[str, Any], confidence: float
    ) -> tuple[Location, ...]:
        result = server.request(method, place, self._seconds(self._limits.request))
        items = result if isinstance(result, list) else [result] if result else []
        found = []
        for item in items[:_MAX_LOCATIONS]:
            try:
                uri = item.get("targetUri") or item["uri"]
                span = item.get("targetSelectionRange") or item["range"]
                line = int(span["start"]["line"])
                url = urlsplit(uri)
                file = unquote(url.path) if url.scheme == "file" else None
                path = self._workspace.relative(file)
            except (KeyError, TypeError, ValueError, AttributeError):
                raise ServerFailedError("answered what is no location") from None
            found.append(Location(path, line + 1 if path else 0, confidence))
        return tuple(dict.fromkeys(found))

    def _defines(self, location: Location) -> bool:
        """Whether a class or function statement stands there."""
        path = location.path
        assert path is not None
        if path not in self._lines:
            text = (self._workspace.root / path).read_bytes().decode("utf-8", "replace")
            self._lines[path] = text.split("\n")
        lines = self._lines[path]
        return 0 < location.line <= len(lines) and (
            _DEFINITION.match(lines[location.line - 1]) is not None
        )

    def _uri(self, path: str) -> str:
        return (self._workspace.root / path).as_uri()


class _NotAskedError(Exception):
    """Why a call was not asked about."""
