"""The course of a conversation, on a server that plays a recording."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from harness.agents.openhands import server_conversation
from harness.agents.openhands.recorder import Recorder
from harness.agents.openhands.server_conversation import ServerConversation
from harness.agents.openhands.spec import Spec
from harness.records import Event, StopReason
from tests.agents.openhands.server_replay import Play, Replay, serving


def spec(replay: Replay, **changes: Any) -> Spec:
    """What the recorded conversation was started with."""
    (started,) = (each for each in replay.exchanges if each["path"] == "/api/conversations")
    request = started["request"]
    values: dict[str, Any] = {
        "agent": request["agent"],
        "modules": tuple(request["tool_module_qualnames"].values()),
        "task": "Fix it.",
        "nudge": "Go on.",
        "nudges": 2,
        "turns": request["max_iterations"],
        "stuck_detection": True,
        "startup_seconds": 60,
        "wall_clock_seconds": 60,
    }
    return Spec(**(values | changes))


def hold(replay: Replay, folder: Path, **changes: Any) -> tuple[ServerConversation, list[Event]]:
    """The conversation once it is over, and what was emitted."""
    emitted: list[Event] = []

    async def run(recorder: Recorder) -> ServerConversation:
        conversation = ServerConversation(spec(replay, **changes), recorder)
        async with serving(replay.application(), folder) as client:
            await conversation.hold(client)
        return conversation

    with Recorder(emitted.append, folder, most_turns=50) as recorder:
        return asyncio.run(run(recorder)), emitted


def ending_with(replay: Replay, status: str, code: str | None = None) -> Replay:
    """The recording up to the nudge, with another status and an error at its end."""
    cut = 1 + [frame.get("value") for frame in replay.frames].index("finished")
    replay.frames = [frame for frame in replay.frames[:cut] if frame.get("source") != "agent"]
    replay.frames[-1] = {**replay.frames[-1], "value": status}
    logged = replay.recorded_log
    for page in replay.pages:
        page["answer"]["items"] = []
    replay.pages[0]["answer"]["items"] = [
        replay.frames[-1] if each["id"] == replay.frames[-1]["id"] else each for each in logged
    ]
    if code is not None:
        error = {
            "id": "error",
            "kind": "ConversationErrorEvent",
            "source": "environment",
            "code": code,
            "detail": "what happened",
        }
        replay.frames.append(error)
        replay.pages[0]["answer"]["items"].append(error)
    return replay


def test_the_recorded_conversation_is_held_again(tmp_path: Path) -> None:
    replay = Replay(answers=True)
    conversation, emitted = hold(replay, tmp_path)
    assert (conversation.reason, conversation.detail) == (StopReason.FINISHED, "")
    assert replay.said == ["Fix it.", "Go on."]
    assert conversation.turns == 4
    assert conversation.tool_calls == 3
    assert [event.kind for event in emitted if event.kind == "user"] == ["user", "user"]
    assert emitted[0].text == "OpenHands agent-server 1.58.0"
    steps = [event.step for event in emitted]
    assert steps == sorted(steps)
    assert steps[-1] == 4


def test_a_connection_that_breaks_changes_nothing(tmp_path: Path) -> None:
    _, calm = hold(Replay(answers=True), tmp_path)
    (tmp_path / "socket").unlink(missing_ok=True)
    plan = [Play("send", 4), Play("break"), Play("lose", 6), Play("break"), Play("send", 3)]
    replay = Replay(plan, answers=True)
    conversation, stormy = hold(replay, tmp_path)
    assert conversation.reason is StopReason.FINISHED
    assert [(e.step, e.kind, e.text) for e in stormy] == [(e.step, e.kind, e.text) for e in calm]
    assert replay.connections == 3


def test_without_nudges_a_plain_answer_submits(tmp_path: Path) -> None:
    replay = Replay(answers=True)
    conversation, _ = hold(replay, tmp_path, nudges=0)
    assert (conversation.reason, conversation.detail) == (StopReason.FINISHED, "a plain answer")
    assert replay.said == ["Fix it."]


def test_no_nudge_goes_beyond_the_turns(tmp_path: Path) -> None:
    replay = Replay(answers=True)
    conversation, _ = hold(replay, tmp_path, turns=2)
    assert conversation.reason is StopReason.TURN_CAP
    assert replay.said == ["Fix it."]


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        ("stuck", None, StopReason.STUCK),
        ("error", "MaxIterationsReached", StopReason.TURN_CAP),
        ("error", "LLMContextWindowExceedError", StopReason.TOKEN_CAP),
        ("error", "LLMServiceUnavailableError", StopReason.INFRASTRUCTURE),
        ("error", "RuntimeError", StopReason.AGENT_ERROR),
        ("error", None, StopReason.AGENT_ERROR),
        ("paused", None, StopReason.AGENT_ERROR),
    ],
)
def test_what_ends_a_conversation(
    status: str,
    code: str | None,
    reason: StopReason,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_conversation, "_POLL_SECONDS", 0.01)
    conversation, _ = hold(ending_with(Replay(answers=True), status, code), tmp_path)
    assert conversation.reason is reason
    if code in ("RuntimeError", "LLMServiceUnavailableError"):
        assert conversation.detail == f"{code}: what happened"


def test_a_server_that_never_ends_is_left_at_the_wall_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_conversation, "GRACE_SECONDS", 0.1)
    replay = ending_with(Replay(answers=True), "running")
    conversation, _ = hold(replay, tmp_path, wall_clock_seconds=0.5)
    assert (conversation.reason, conversation.detail) == (StopReason.WALL_CLOCK, "0.5 s used up")


def test_an_unsupported_server_gets_no_task(tmp_path: Path) -> None:
    replay = Replay(answers=True)
    replay.info |= {"version": "1.60.0"}
    conversation, emitted = hold(replay, tmp_path)
    assert not conversation.began
    assert "'1.60.0' is not supported" in conversation.failure
    assert replay.started == []
    assert emitted == []


def test_a_server_that_does_not_come_up_is_not_waited_for(tmp_path: Path) -> None:
    async def run(recorder: Recorder) -> ServerConversation:
        replay = Replay()
        conversation = ServerConversation(spec(replay, startup_seconds=0.1), recorder)
        async with serving(replay.application(), tmp_path) as client:
            (tmp_path / "socket").unlink()
            await conversation.hold(client)
        return conversation

    with Recorder(lambda _: None, tmp_path, most_turns=50) as recorder:
        conversation = asyncio.run(run(recorder))
    assert not conversation.began
    assert conversation.failure == "no agent-server within 0.1 s"
