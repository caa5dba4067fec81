"""The viewer's web application."""

import secrets
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from harness.records import InstanceId, RunFolder
from harness.rollouts.finish import load_scored
from harness.scoring.compare import NotPairedError, compare
from harness.viewer.attempt import Sources, attempt_view
from harness.viewer.index import Index
from harness.viewer.labels import RUBRIC, Label, Labels

_SHARED = ("report.css", "attempt.css", "elements.js", "diff.js", "parts.js")  # with the report
_OWN = ("viewer.css", "tokens.js", "viewer.js")
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
        run: str = "",
        status: str = "",
        repo: str = "",
        name: str = "",
        text: Annotated[str, Query(max_length=200)] = "",
        sort: str = "instance",
        down: bool = False,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=_PAGE)] = 100,
    ) -> dict[str, Any]:
        where = {"run": run, "status": status, "repo": repo}
        try:
            return index.attempts(
                where={key: value for key, value in where.items() if value},
                name=name,
                text=text,
                sort=sort,
                down=down,
                offset=offset,
                limit=limit,
            )
        except ValueError as error:
            raise HTTPException(422, str(error)) from None

    @app.get("/api/attempt")
    def attempt(run: str, instance: str, seed: Annotated[int, Query(ge=0)]) -> dict[str, Any]:
        folder = _folder(index, run)
        about = next(one for one in index.runs() if one["run"] == run)
        try:
            found = attempt_view(
                folder, about["id"], about["model"], InstanceId(instance), seed, sources
            )
        except FileNotFoundError as error:
            raise HTTPException(404, str(error)) from None
        return found | {
            "siblings": index.siblings(instance),
            "labels": labels.of(run, instance, seed),
        }

    @app.get("/api/compare")
    def comparison(a: str, b: str) -> dict[str, Any]:
        rows = [load_scored(_folder(index, one)) for one in (a, b)]
        try:
            return compare(*rows, names=(a, b), common_only=True).model_dump(mode="json")
        except NotPairedError as error:
            raise HTTPException(422, str(error)) from None

    @app.get("/api/agreement")
    def agreement() -> dict[str, Any]:
        return labels.agreement()

    @app.post("/api/labels")
    def label(one: Label) -> JSONResponse:
        folder = _folder(index, one.run)
        if not (folder.root / "attempts" / one.instance / str(one.seed)).is_dir():
            raise HTTPException(404, "no such attempt")
        labels.put(one)
        return JSONResponse(labels.of(one.run, one.instance, one.seed))

    return app


def _folder(index: Index, run: str) -> RunFolder:
    try:
        return index.folder(run)
    except KeyError:
        raise HTTPException(404, f"no run {run!r}") from None
