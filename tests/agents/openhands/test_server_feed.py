"""Live events: each once and in order, whatever happens to the connections."""

import asyncio
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.agents.openhands import server_feed
from harness.agents.openhands.server_api import RemoteEvent
from harness.agents.openhands.server_client import ServerError
from harness.agents.openhands.server_feed import EventFeed
from tests.agents.openhands.server_replay import Play, Replay, serving

STATE = "ConversationStateUpdateEvent"

plays = st.builds(Play, st.sampled_from(["send", "lose", "repeat", "break"]), st.integers(0, 4))


async def follow(replay: Replay) -> list[RemoteEvent]:
    """What a feed delivers until everything has happened."""
    delivered: list[RemoteEvent] = []
    with tempfile.TemporaryDirectory() as folder:
        async with serving(replay.application(), Path(folder)) as client:
            feed = EventFeed(client, replay.conversation_id, delivered.append)
            following = asyncio.create_task(feed.follow())
            while not replay.done and not following.done():
                await asyncio.sleep(0.001)
            following.cancel()
            (ended,) = await asyncio.gather(following, return_exceptions=True)
            if isinstance(ended, ServerError):
                raise ended
            await feed.catch_up()
    return delivered


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_feed, "_FIRST_PAUSE", 0.001)


def test_a_recording_is_delivered_as_it_was_logged() -> None:
    replay = Replay()
    events = [event.raw for event in asyncio.run(follow(replay))]
    assert events == [each for each in replay.recorded_log if each["kind"] != STATE]
    assert replay.connections == 1


@settings(max_examples=25, deadline=None)
@given(plan=st.lists(plays, max_size=8))
def test_no_event_is_lost_or_doubled(plan: list[Play]) -> None:
    replay = Replay(plan)
    expected = [each["id"] for each in replay.recorded_log if each["kind"] != STATE]
    assert [event.id for event in asyncio.run(follow(replay))] == expected
    assert replay.connections == 1 + [step.what for step in plan].count("break")


def test_what_a_connection_did_not_bring_comes_with_its_next_event() -> None:
    replay = Replay([Play("send", 3), Play("lose", 3), Play("send", 1)])
    replay.plan.pop()  # nothing more happens

    seen = [event.id for event in asyncio.run(follow(replay))]
    in_log = [event["id"] for event in replay.log if event["kind"] != STATE]
    assert seen == in_log
    assert len(seen) > 3


def test_what_was_missed_between_connections_comes_with_the_next_one() -> None:
    replay = Replay([Play("send", 8), Play("lose", 2), Play("break")])
    replay.plan.pop()  # nothing more happens
    delivered: list[str] = []

    async def run(folder: str) -> None:
        async with serving(replay.application(), Path(folder)) as client:
            feed = EventFeed(client, replay.conversation_id, lambda e: delivered.append(e.id))
            following = asyncio.create_task(feed.follow())
            async with asyncio.timeout(60):
                while not (replay.done and replay.log[-1]["id"] in delivered):
                    await asyncio.sleep(0.001)
            following.cancel()
            await asyncio.wait({following})

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(folder))
    in_log = [event["id"] for event in replay.log if event["kind"] != STATE]
    assert delivered == in_log
    assert not set(in_log[:-1]).isdisjoint(replay.first_of_pages)  # not read from the start


def test_events_that_the_log_does_not_have_are_not_delivered() -> None:
    replay = Replay()
    replay.frames.insert(5, {"id": "forged", "kind": "MessageEvent", "parent_id": "nowhere"})
    assert "forged" not in [event.id for event in asyncio.run(follow(replay))]


def test_the_number_of_events_has_a_limit() -> None:
    with mock.patch.object(server_feed, "EVENTS", 4), pytest.raises(ServerError, match="over 4"):
        asyncio.run(follow(Replay()))
