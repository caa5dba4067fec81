"""An agent-server that plays a recording, as it was or as one would not like it to be."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

from aiohttp import web
from pydantic import SecretStr

from harness.agents.openhands.server_client import ServerClient
from tests.agents.openhands.server_recording import RECORDING

KEY = SecretStr("key")


class Play(NamedTuple):
    """What happens next: `times` frames are sent or lost, or the connection breaks."""

    what: Literal["send", "lose", "repeat", "break"]
    times: int = 0


class Replay:
    """The server's state. `log` is what it has on record so far, `plan` what is still to happen.

    With `answers`, what the user says has to be said before it is in the log.
    """

    def __init__(self, plan: Iterable[Play] = (), *, answers: bool = False) -> None:
        recording = json.loads(RECORDING.read_text())
        self.exchanges: list[dict[str, Any]] = recording["exchanges"]
        self.frames: list[dict[str, Any]] = recording["live"]
        self.plan = [*plan, Play("send", len(self.frames))]
        self.log: list[dict[str, Any]] = []
        self.info: dict[str, Any] = self.answer("GET", "/server_info")
        self.started: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._answers = answers
        self._full_state = next(each for each in self.frames if each.get("key") == "full_state")
        self.connections = 0
        self.first_of_pages: list[str | None] = []
        self.done = False

    @property
    def conversation_id(self) -> UUID:
        """The recorded conversation's."""
        return UUID(self.answer("POST", "/api/conversations")["id"])

    @property
    def pages(self) -> list[dict[str, Any]]:
        """The recorded exchanges that list the whole log."""
        return [each for each in self.exchanges if each["query"].get("limit") == "8"]

    @property
    def recorded_log(self) -> list[dict[str, Any]]:
        """All of the log."""
        return [event for page in self.pages for event in page["answer"]["items"]]

    def answer(self, method: str, path: str) -> Any:
        """What was answered last."""
        return next(
            each["answer"]
            for each in reversed(self.exchanges)
            if (each["method"], each["path"]) == (method, path)
        )

    def page(self, first: str | None, limit: int) -> dict[str, Any]:
        """A page of the log."""
        ids = [event["id"] for event in self.log]
        start = ids.index(first) if first in ids else 0
        following = ids[start + limit : start + limit + 1]
        return {
            "items": self.log[start : start + limit],
            "next_page_id": following[0] if following else None,
        }

    def application(self) -> web.Application:
        """The server's routes."""
        conversation = "/api/conversations/{id}"  # whatever a client calls it
        application = web.Application()
        application.add_routes(
            [
                web.get("/server_info", self._info),
                web.get(conversation, self._state),
                web.post("/api/conversations", self._started),
                web.post(f"{conversation}/events", self._told),
                web.get(f"{conversation}/events/search", self._search),
                web.get("/sockets/events/{id}", self._events),
            ]
        )
        return application

    def _users(self, frame: dict[str, Any]) -> int:
        """How much the user must have said for a frame to come."""
        before = [each.get("source") for each in self.log].count("user")
        return before + (frame.get("source") == "user" or frame.get("value") == "idle")

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response(self.info)

    async def _state(self, _: web.Request) -> web.Response:
        states = [each["value"] for each in self.log if each.get("key") == "execution_status"]
        state = self.answer("GET", f"/api/conversations/{self.conversation_id}")
        return web.json_response({**state, "execution_status": ["idle", *states][-1]})

    async def _started(self, request: web.Request) -> web.Response:
        if request.headers["X-Session-API-Key"] != KEY.get_secret_value():
            return web.json_response({"detail": "Unauthorized"}, status=401)
        self.started.append(await request.json())
        return web.json_response(self.answer("POST", request.path), status=201)

    async def _told(self, request: web.Request) -> web.Response:
        self.said.append((await request.json())["content"][0]["text"])
        path = f"/api/conversations/{self.conversation_id}/events"
        return web.json_response(self.answer("POST", path))

    async def _search(self, request: web.Request) -> web.Response:
        first = request.query.get("page_id")
        self.first_of_pages.append(first)
        page = self.page(first, int(request.query["limit"]))
        return web.json_response(page)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert await socket.receive_json() == {"type": "auth", "session_api_key": "key"}
        if self.connections > 1:  # as a server does that has more than the first event
            await socket.send_json(self._full_state)
        while self.plan:
            step = self.plan.pop(0)
            if step.what == "break":
                assert request.transport
                request.transport.abort()
                return socket
            for _ in range(step.times):
                if step.what == "repeat":
                    for event in self.log[-1:]:
                        await socket.send_json(event)
                elif self.frames:
                    frame = self.frames.pop(0)
                    while self._answers and self._users(frame) > len(self.said):
                        await asyncio.sleep(0.001)
                    self.log += [each for each in self.recorded_log if each["id"] == frame["id"]]
                    if step.what == "send":
                        await socket.send_json(frame)
        self.done = True
        await socket.receive()
        return socket


@asynccontextmanager
async def serving(application: web.Application, folder: Path) -> AsyncIterator[ServerClient]:
    """A client of a server on a socket in a folder."""
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(folder / "socket")).start()
    try:
        async with ServerClient(folder / "socket", KEY) as client:
            yield client
    finally:
        await runner.cleanup()
