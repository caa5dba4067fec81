"""Answers as they were recorded, as a later server may give them, and as no server should."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from harness.agents.openhands import server_client
from harness.agents.openhands.server_api import RemoteEvent, StartConversation, Status
from harness.agents.openhands.server_client import (
    ConnectionLostError,
    ServerClient,
    ServerError,
    UnsupportedVersionError,
)
from tests.agents.openhands.server_replay import KEY, Replay, serving

Use = Callable[[ServerClient], Awaitable[Any]]


def against(replay: Replay, folder: Path, use: Use) -> Any:
    """What comes of using a client of the replaying server."""

    async def run() -> Any:
        async with serving(replay.application(), folder) as client:
            return await use(client)

    return asyncio.run(run())


def against_answer(answer: Callable[[], web.StreamResponse], folder: Path, use: Use) -> Any:
    """What comes of using a client of a server that always answers the same."""

    async def handle(_: web.Request) -> web.StreamResponse:
        return answer()

    async def run() -> Any:
        application = web.Application()
        application.add_routes([web.route("*", "/{path:.*}", handle)])
        async with serving(application, folder) as client:
            return await use(client)

    return asyncio.run(run())


def refusal(answer: Callable[[], web.StreamResponse], folder: Path) -> str:
    """What the client says of an answer to its first request."""
    with pytest.raises(ServerError) as caught:
        against_answer(answer, folder, lambda client: client.ready())
    return str(caught.value)


def test_the_recorded_server_is_supported(tmp_path: Path) -> None:
    info = against(Replay(), tmp_path, lambda client: client.ready())
    assert info.version == "1.58.0"


@pytest.mark.parametrize("version", ["1.57.9", "1.59.0", "2.0.0", "unknown", "1.59.0rc1"])
def test_another_version_is_named_with_the_supported_range(version: str, tmp_path: Path) -> None:
    replay = Replay()
    replay.info |= {"version": version}
    with pytest.raises(UnsupportedVersionError) as caught:
        against(replay, tmp_path, lambda client: client.ready())
    assert repr(version) in str(caught.value)
    assert "<1.59,>=1.58.0" in str(caught.value)


def test_another_server_is_named(tmp_path: Path) -> None:
    replay = Replay()
    replay.info |= {"title": "Something else"}
    with pytest.raises(ServerError, match="found 'Something else'"):
        against(replay, tmp_path, lambda client: client.ready())


def test_a_later_patch_release_with_fields_of_its_own_is_taken(tmp_path: Path) -> None:
    replay = Replay()
    replay.info |= {"version": "1.58.9", "brand_new": {"a": 1}}
    assert against(replay, tmp_path, lambda client: client.ready()).version == "1.58.9"


def test_fields_of_events_are_kept_and_need_not_be_known(tmp_path: Path) -> None:
    replay = Replay()
    replay.log = [{**event, "brand_new": [1]} for event in replay.recorded_log]

    async def use(client: ServerClient) -> list[RemoteEvent]:
        return [event async for event in client.events(replay.conversation_id, None)]

    assert [event.raw for event in against(replay, tmp_path, use)] == replay.log


def test_the_log_is_read_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_client, "PAGE_EVENTS", 3)
    replay = Replay()
    replay.log = replay.recorded_log

    async def use(client: ServerClient) -> list[str]:
        return [event.id async for event in client.events(replay.conversation_id, first)]

    ids = [event["id"] for event in replay.log]
    first: str | None = None
    assert against(replay, tmp_path, use) == ids
    first = ids[5]
    (tmp_path / "socket").unlink(missing_ok=True)
    assert against(replay, tmp_path, use) == ids[5:]


def test_the_replaying_server_pages_as_the_recorded_one() -> None:
    replay = Replay()
    replay.log = replay.recorded_log
    assert len(replay.pages) == 3
    for each in replay.pages:
        page = replay.page(each["query"].get("page_id"), int(each["query"]["limit"]))
        assert page == each["answer"]


def test_the_recorded_request_is_what_is_sent_today(tmp_path: Path) -> None:
    replay = Replay()
    (recorded,) = (each for each in replay.exchanges if each["path"] == "/api/conversations")
    request = StartConversation.model_validate(recorded["request"])
    started = against(replay, tmp_path, lambda client: client.start(request))
    assert replay.started == [recorded["request"]]
    assert started.id == replay.conversation_id
    assert started.execution_status is Status.IDLE


def test_an_unknown_field_is_never_sent() -> None:
    (recorded,) = (each for each in Replay().exchanges if each["path"] == "/api/conversations")
    with pytest.raises(ValidationError, match="max_iteration"):
        StartConversation.model_validate({**recorded["request"], "max_iteration": 5})


def test_the_answer_to_a_wrong_key_is_shown(tmp_path: Path) -> None:
    replay = Replay()
    (recorded,) = (each for each in replay.exchanges if each["path"] == "/api/conversations")
    request = StartConversation.model_validate(recorded["request"])

    async def use(client: ServerClient) -> None:
        client._http.headers["X-Session-API-Key"] = "wrong"
        await client.start(request)

    with pytest.raises(ServerError, match=r"status 401.*Unauthorized"):
        against(replay, tmp_path, use)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: web.Response(text="<html>"), "unexpected answer"),
        (lambda: web.Response(text="[" * 100_000), "unexpected answer"),
        (lambda: web.json_response({"title": 1, "version": "1.58.0"}), "title"),
        (lambda: web.json_response({"title": "t", "version": "1" * 1000}), "version"),
        (lambda: web.Response(status=302, headers={"Location": "http://host/"}), "status 302"),
        (lambda: web.Response(status=500, text="x" * 5000), "status 500"),
        (
            lambda: web.Response(
                body=gzip.compress(json.dumps({"title": "t", "version": "1"}).encode()),
                headers={"Content-Encoding": "gzip"},
            ),
            "unexpected answer",
        ),
    ],
    ids=["html", "nesting", "type", "length", "redirect", "error", "compressed"],
)
def test_an_unusable_answer_is_refused(
    answer: Callable[[], web.StreamResponse], said: str, tmp_path: Path
) -> None:
    refused = refusal(answer, tmp_path)
    assert said in refused
    assert len(refused) < 2000


def test_an_answer_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_client, "_ANSWER_BYTES", 1000)
    assert "over 1,000 bytes" in refusal(lambda: web.Response(text="x" * 100_000), tmp_path)


def test_all_answers_have_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_client, "_TOTAL_BYTES", 3000)

    async def use(client: ServerClient) -> None:
        for _ in range(10):
            await client.ready()

    with pytest.raises(ServerError, match="has sent over 3,000 bytes"):
        against(Replay(), tmp_path, use)


def test_an_answer_that_drips_has_a_longest_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_client, "_REQUEST_SECONDS", 0.2)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    async def run() -> None:
        application = web.Application()
        application.add_routes([web.get("/server_info", drip)])
        async with serving(application, tmp_path) as client:
            await client.ready()

    with pytest.raises(ServerError, match="no answer within"):
        asyncio.run(run())


def test_nobody_at_the_socket_is_a_lost_connection(tmp_path: Path) -> None:
    async def run() -> None:
        async with ServerClient(tmp_path / "socket", KEY) as client:
            await client.conversation(Replay().conversation_id)

    with pytest.raises(ConnectionLostError):
        asyncio.run(run())


def test_a_live_event_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_client, "_EVENT_BYTES", 1000)
    replay = Replay()

    async def use(client: ServerClient) -> None:
        async with client.live(replay.conversation_id) as events:
            async for _ in events:
                pass

    with pytest.raises(ConnectionLostError, match="broke off"):
        against(replay, tmp_path, use)
