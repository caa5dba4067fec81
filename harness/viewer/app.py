"""The viewer's web application."""

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from harness.records import InstanceId, RunFolder
from harness.reports.files import describe
from harness.reports.text import plain
from harness.rollouts.finish import load_scored
from harness.scoring.compare import NotPairedError, compare
from harness.viewer.attempt import Sources, attempt_view
from harness.viewer.index import Index
from harness.viewer.labels import RUBRIC, Label, Labels

_SHARED = ("report.css", "attempt.css", "elements.js", "diff.js", "parts.js")  # with the report
_OWN = ("viewer.css", "page.js", "tokens.js", "lists.js", "one.js", "label.js", "viewer.js")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LARGEST_BODY = 10_000
_PAGE = 500


class _Where:
    """What rows are chosen by; an empty value chooses all."""

    def __init__(self, run: str = "", status: str = "", repo: str = "", name: str = "") -> None:
        self.name = name
        self._columns = {"run": run, "status": status, "repo": repo}

    def chosen(self) -> dict[str, str]:
        return {column: value for column, value in self._columns.items() if value}


class _Page:
    """Which rows, in which order."""

    def __init__(
        self,
        sort: str = "instance",
        down: bool = False,
        offset: Annotated[int, Query(ge=0, lt=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=_PAGE)] = 100,
    ) -> None:
        self.sort, self.down, self.offset, self.limit = sort, down, offset, limit


Where = Annotated[_Where, Depends()]
Page = Annotated[_Page, Depends()]


def make_app(index: Index, labels: Labels, sources: Sources, *, port: int) -> FastAPI:
    """The page and its data. It answers requests that name this machine's loopback as their host
    alone, and keeps labels only of requests that have the page's token.
    """
    app = FastAPI(title="harness view", docs_url=None, redoc_url=None, openapi_url=None)
    token = secrets.token_urlsafe(24)
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    @app.middleware("http")
    async def guarded(
        request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        if request.headers.get("host") not in hosts:
            return Response("unknown host", 421)
        if request.method not in ("GET", "HEAD"):
            origin = request.headers.get("origin", "")
            known = secrets.compare_digest(request.headers.get("x-token", ""), token)
            if origin.removeprefix("http://") not in hosts or not known:
                return Response("not from this page", 403)
            if int(request.headers.get("content-length") or _LARGEST_BODY + 1) > _LARGEST_BODY:
                return Response("too long", 413)
        response = await go_on(request)
        response.headers.update(_HEADERS)
        return response

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        text = (files("harness.viewer") / "static" / "index.html").read_text("utf-8")
        return text.replace("{{ token }}", token)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name in _SHARED:
            place = files("harness.reports") / "templates" / name
        elif name in _OWN:
            place = files("harness.viewer") / "static" / name
        else:
            raise HTTPException(404)
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return Response(place.read_bytes(), media_type=kind)

    @app.get("/api/runs")
    def runs() -> dict[str, Any]:
        return {"runs": index.runs(), "choices": index.choices(), "rubric": RUBRIC}

    @app.get("/api/attempts")
    def attempts(
        where: Where,
        page: Page,
        text: Annotated[str, Query(max_length=200)] = "",
    ) -> dict[str, Any]:
        with _refused(ValueError):
            return index.attempts(where=where.chosen(), name=where.name, text=text, **vars(page))

    @app.get("/api/instances")
    def instances(where: Where, page: Page, outcome: str = "") -> dict[str, Any]:
        with _refused(ValueError):
            chosen = where.chosen()
            return index.instances(where=chosen, name=where.name, outcome=outcome, **vars(page))

    @app.get("/api/attempt")
    def attempt(
        run: str,
        instance: str,
        seed: Annotated[int, Query(ge=0, lt=10**9)],
        ledger: str = "",
    ) -> dict[str, Any]:
        folder = _folder(index, run)
        about = next(one for one in index.runs() if one["run"] == run)
        try:
            found = attempt_view(
                folder, about["id"], about["model"], InstanceId(instance), seed, sources, ledger
            )
        except FileNotFoundError as error:
            raise HTTPException(404, str(error)) from None
        return (
            found | index.beside(run, instance, seed) | {"labels": labels.of(run, instance, seed)}
        )

    @app.get("/api/compare")
    def comparison(a: str, b: str) -> dict[str, Any]:
        folders = [_folder(index, one) for one in (a, b)]
        with _refused(NotPairedError, OSError, ValueError, KeyError):
            rows = [load_scored(one) for one in folders]
            return compare(*rows, names=(a, b), common_only=True).model_dump(mode="json")

    @app.get("/api/queue")
    def queue(annotator: str, run: str = "", skip: Annotated[int, Query(ge=0)] = 0) -> Any:
        """The next action for an annotator, and where it is in the order that all have."""
        actions = index.actions(run)
        done = labels.done(annotator)
        waiting = [
            (place, one)
            for place, one in enumerate(actions)
            if (one["run"], one["instance"], one["seed"], one["turn"]) not in done
        ]
        later = next((pair for pair in waiting if pair[0] >= skip), None)
        return {
            "actions": len(actions),
            "labelled": len(actions) - len(waiting),
            "place": later[0] if later else None,
            "next": later[1] if later else None,
        }

    @app.get("/api/agreement")
    def agreement() -> dict[str, Any]:
        return labels.agreement()

    @app.post("/api/refresh")
    def refresh() -> dict[str, int]:
        return {"attempts": index.refresh()}

    @app.post("/api/labels")
    def label(one: Label) -> JSONResponse:
        folder = _folder(index, one.run)
        if not (folder.root / "attempts" / one.instance / str(one.seed)).is_dir():
            raise HTTPException(404, "no such attempt")
        labels.put(one)
        return JSONResponse(labels.of(one.run, one.instance, one.seed))

    return app


@contextmanager
def _refused(*kinds: type[Exception]) -> Iterator[None]:
    """What is wrong with a request, or with the runs that it is about, as its answer."""
    try:
        yield
    except kinds as error:
        raise HTTPException(422, plain(describe(error))) from None


def _folder(index: Index, run: str) -> RunFolder:
    try:
        return index.folder(run)
    except KeyError:
        raise HTTPException(404, f"no run {run!r}") from None
