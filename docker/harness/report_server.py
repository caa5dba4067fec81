"""Serves a folder of runs, read-only: an index, the reports, and every other file as text.

Run folders hold what models and repositories wrote. Only reports are pages; nothing else can be
more than text or a download in a browser, and requests by other host names are refused.
"""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any
from urllib.parse import quote

import yaml
from jinja2 import Environment, FileSystemLoader
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from harness.config import RunConfig

_MAX_CONFIG_BYTES = 256 * 1024
_BINARY = (".parquet", ".sqlite", ".gz")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NOTHING = "default-src 'none'; sandbox"
_INDEX_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
_FILES = ("run.yaml", "lock.json", "scores.json", "predictions.jsonl")


@dataclass(frozen=True)
class Part:
    """One method's run: what its folder tells."""

    method: str
    facts: Sequence[str]
    attempts: int
    graded: int
    files: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """A folder below the folder of runs."""

    name: str
    report: str | None
    parts: list[Part]

    @property
    def facts(self) -> Sequence[str]:
        """What all its parts have in common: suite and start."""
        return self.parts[0].facts if self.parts else ()


def create_app(runs: Path, *, hosts: Sequence[str]) -> Starlette:
    """The application over a folder of runs; `hosts` are the host names that it answers to."""
    loader = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=loader, autoescape=True).get_template("runs.html")

    def index(_: Request) -> Response:
        found = list(_find_runs(runs))
        running = not found or any(
            not run.report or part.graded < part.attempts for run in found for part in run.parts
        )
        text = page.render(runs=found, running=running)
        return HTMLResponse(text, headers={**_HEADERS, "Content-Security-Policy": _INDEX_POLICY})

    def health(_: Request) -> Response:
        readable = os.access(runs, os.R_OK | os.X_OK)
        return PlainTextResponse("ok" if readable else "no runs", 200 if readable else 503)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/health", health),
            Mount("/runs", _RunFiles(directory=runs)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )


class _RunFiles(StaticFiles):
    """Files of runs: reports as pages, which bring a policy of their own, all others as text."""

    def file_response(self, full_path: Any, *args: Any, **options: Any) -> Response:
        path = Path(full_path)
        place = path.relative_to(Path(str(self.directory)).resolve()).parts
        response = super().file_response(full_path, *args, **options)
        response.headers.update(_HEADERS)
        if place[1:] == ("report", "index.html"):
            return response
        binary = path.suffix in _BINARY
        kind = "application/octet-stream" if binary else "text/plain; charset=utf-8"
        response.headers["Content-Type"] = kind
        response.headers["Content-Security-Policy"] = _NOTHING
        return response


def _find_runs(root: Path) -> Iterator[Run]:
    """The runs in a folder, the newest first."""
    folders = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True):
        inner = [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())]
        parts = [_part(path, root) for path in inner if _is_file(path / "run.yaml")]
        report = folder / "report" / "index.html"
        if parts or _is_file(report):
            yield Run(folder.name, _link(report, root) if _is_file(report) else None, parts)


def _part(folder: Path, root: Path) -> Part:
    config = _config(folder / "run.yaml")
    return Part(
        method=config.method.name if config else folder.name,
        facts=(config.suite.reference, f"started {config.created_at}") if config else (),
        attempts=len(config.seeds) * config.suite.instances if config else 0,
        graded=sum(1 for _ in folder.glob("grades/*/*/grade.json")),
        files={name: _link(folder / name, root) for name in _FILES if _is_file(folder / name)},
    )


def _config(path: Path) -> RunConfig | None:
    """A run's configuration; None while it is being written, or of another version."""
    with path.open("rb") as file:
        try:
            return RunConfig.model_validate(yaml.safe_load(file.read(_MAX_CONFIG_BYTES)))
        except (yaml.YAMLError, ValidationError):
            return None


def _is_file(path: Path) -> bool:
    try:
        return S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _link(path: Path, root: Path) -> str:
    return quote(f"/runs/{path.relative_to(root)}")


def main() -> None:
    """Serve until told to stop."""
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--hosts", default="localhost,127.0.0.1", help="host names to answer to")
    options = parser.parse_args()
    app = create_app(options.runs, hosts=options.hosts.split(","))
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
