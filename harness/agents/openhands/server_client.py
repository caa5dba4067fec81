"""A client of the agent-server: typed, and bounded in what it takes of an answer.

The agent can put anything in the server's place, so sizes, times and forms are checked here.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

import httpx
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, SecretStr, ValidationError
from websockets.asyncio.client import unix_connect
from websockets.exceptions import WebSocketException

from harness.agents.openhands.server_api import (
    Conversation,
    EventPage,
    Message,
    RemoteEvent,
    ServerInfo,
    StartConversation,
    Text,
)
from harness.sandboxes.base import MIB

SUPPORTED = SpecifierSet(">=1.58.0,<1.59")
TITLE = "OpenHands Agent Server"
PAGE_EVENTS = 20

_ANSWER_BYTES = 64 * MIB
_EVENT_BYTES = 32 * MIB
_TOTAL_BYTES = 1024 * MIB
_REQUEST_SECONDS = 60.0
_RETRY_SECONDS = 0.1

_Answer = TypeVar("_Answer", bound=BaseModel)


class ServerError(Exception):
    """The agent-server cannot be reached, refuses, or answers what it should not."""


class UnsupportedVersionError(ServerError):
    """The agent-server is of a version that the client was not made for."""


class ConnectionLostError(ServerError):
    """A connection ended; another one may work."""


class ServerClient:
    """Requests to an agent-server behind a Unix socket, one at a time, and its live events.

    Every method raises ServerError.
    """

    def __init__(self, socket: Path, key: SecretStr) -> None:
        self._socket = str(socket)
        self._key = key
        self._taken = 0
        self._http = httpx.AsyncClient(
            base_url="http://agent-server",
            transport=httpx.AsyncHTTPTransport(uds=self._socket),
            headers={"X-Session-API-Key": key.get_secret_value(), "Accept-Encoding": "identity"},
            timeout=_REQUEST_SECONDS,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def ready(self) -> ServerInfo:
        """Wait until the server takes requests.

        Raises UnsupportedVersionError, with what was found and what is supported.
        """
        while True:
            try:
                info = await self._get("/server_info", ServerInfo)
                break
            except ConnectionLostError:
                await asyncio.sleep(_RETRY_SECONDS)
        check_version(info)
        return info

    async def start(self, conversation: StartConversation) -> Conversation:
        """Begin a conversation; the agent has nothing to do yet."""
        return await self._post("/api/conversations", conversation, Conversation)

    async def conversation(self, conversation_id: UUID) -> Conversation:
        """A conversation's state."""
        return await self._get(f"/api/conversations/{conversation_id}", Conversation)

    async def say(self, conversation_id: UUID, text: str) -> None:
        """Send a message and set the agent to work on it."""
        message = Message(content=(Text(text=text),))
        await self._request("POST", f"/api/conversations/{conversation_id}/events", message)

    async def interrupt(self, conversation_id: UUID) -> None:
        """End the model call in flight and pause the conversation."""
        await self._request("POST", f"/api/conversations/{conversation_id}/interrupt")

    async def events(self, conversation_id: UUID, first: str | None) -> AsyncIterator[RemoteEvent]:
        """The events so far, from the one with the id `first` on (or all, if there is none)."""
        path = f"/api/conversations/{conversation_id}/events/search"
        while True:
            query = {"limit": str(PAGE_EVENTS)} | ({"page_id": first} if first else {})
            page = await self._get(path, EventPage, query)
            for event in page.items:
                yield event
            first = page.next_page_id
            if first is None:
                return

    @asynccontextmanager
    async def live(self, conversation_id: UUID) -> AsyncIterator[AsyncIterator[RemoteEvent]]:
        """A connection that brings events as they happen.

        Raises ConnectionLostError when it cannot be made or ends.
        """
        try:
            async with unix_connect(
                self._socket,
                uri=f"ws://agent-server/sockets/events/{conversation_id}",
                max_size=_EVENT_BYTES,
                max_queue=4,
                compression=None,
                proxy=None,
                open_timeout=_REQUEST_SECONDS,
                close_timeout=1,
            ) as socket:
                auth = {"type": "auth", "session_api_key": self._key.get_secret_value()}
                await socket.send(json.dumps(auth))

                async def heard() -> AsyncIterator[RemoteEvent]:
                    async for message in socket:
                        yield _parse(RemoteEvent, self._count(message), "a live event")

                try:
                    yield heard()
                finally:
                    socket.transport.abort()  # a polite end waits for the other side
        except (OSError, WebSocketException) as error:
            raise ConnectionLostError(f"the live events broke off: {_text(error)}") from error
        raise ConnectionLostError("the server closed the live events")

    async def _get(
        self, path: str, answer: type[_Answer], query: Mapping[str, str] | None = None
    ) -> _Answer:
        return _parse(answer, await self._request("GET", path, query=query), path)

    async def _post(self, path: str, body: BaseModel, answer: type[_Answer]) -> _Answer:
        return _parse(answer, await self._request("POST", path, body), path)

    async def _request(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        try:
            async with (
                asyncio.timeout(_REQUEST_SECONDS),
                self._http.stream(
                    method,
                    path,
                    params=query,
                    content=body.model_dump_json() if body else None,
                    headers={"Content-Type": "application/json"} if body else None,
                ) as response,
            ):
                data = bytearray()
                async for chunk in response.aiter_raw():
                    data += self._count(chunk)
                    if len(data) > _ANSWER_BYTES:
                        raise ServerError(f"{path}: an answer of over {_ANSWER_BYTES:,} bytes")
        except TimeoutError as error:
            raise ServerError(f"{path}: no answer within {_REQUEST_SECONDS:g} s") from error
        except httpx.TransportError as error:
            raise ConnectionLostError(f"{path}: {_text(error)}") from error
        except httpx.HTTPError as error:
            raise ServerError(f"{path}: {_text(error)}") from error
        if not response.is_success:
            said = bytes(data[:1000]).decode(errors="replace")
            raise ServerError(f"{path}: status {response.status_code}: {said}")
        return bytes(data)

    def _count(self, data: bytes | str) -> bytes:
        taken = data.encode() if isinstance(data, str) else data
        self._taken += len(taken)
        if self._taken > _TOTAL_BYTES:
            raise ServerError(f"the server has sent over {_TOTAL_BYTES:,} bytes")
        return taken


def check_version(info: ServerInfo) -> None:
    """Raises UnsupportedVersionError, or ServerError when another server answers."""
    if info.title != TITLE:
        raise ServerError(f"expected {TITLE!r} at the socket, found {info.title!r}")
    try:
        supported = SUPPORTED.contains(Version(info.version))
    except InvalidVersion:
        supported = False
    if not supported:
        raise UnsupportedVersionError(
            f"openhands-agent-server {info.version!r} is not supported (supported: {SUPPORTED}); "
            "rebuild the toolchain from the lock file that comes with this version"
        )


def _parse(answer: type[_Answer], data: bytes, what: str) -> _Answer:
    try:
        return answer.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise ServerError(f"{what}: unexpected answer: {where}: {first['msg']}") from None


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
