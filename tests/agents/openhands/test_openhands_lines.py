"""Lines from the sandbox, whatever they are."""

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.agents.openhands import lines, recorder
from harness.agents.openhands.lines import End, Reader
from harness.agents.openhands.recorder import Recorder
from harness.records import Event, StopReason

READY = {
    "sdk": "1.58.0",
    "python": "3.13.5",
    "import_seconds": 4.0,
    "startup_seconds": 5.0,
    "cpu_seconds": 4.5,
    "memory_bytes": 300_000_000,
}
END = {
    "reason": "turn_cap",
    "detail": "5 model calls used up",
    "turns": 5,
    "tool_calls": 7,
    "prompt_tokens": 100,
    "generated_tokens": 10,
    "cpu_seconds": 4.5,
    "memory_bytes": 300_000_000,
}
MESSAGE = {"kind": "MessageEvent", "source": "agent", "llm_message": {"content": "Hello."}}


def line(kind: str, turns: int, value: Any) -> bytes:
    return f"{kind} {turns} {json.dumps(value)}\n".encode()


@dataclass
class Read:
    """What came of some output."""

    ended: bool
    ready: bool
    end: End | None
    events: list[Event]
    log: bytes
    stray: bytes


def read(folder: Path, *chunks: bytes) -> Read:
    events: list[Event] = []
    stray = BytesIO()
    with Recorder(events.append, folder, most_turns=5) as kept:
        reader = Reader(kept, stray)
        ended = any(reader.feed(chunk) for chunk in chunks)
    log = (folder / "openhands.jsonl").read_bytes()
    return Read(ended, reader.ready, reader.end, events, log, stray.getvalue())


def test_a_conversation(tmp_path: Path) -> None:
    done = read(
        tmp_path, line("ready", 0, READY), line("event", 2, MESSAGE), line("end", 5, END), b"more\n"
    )
    assert done.ended
    assert done.ready
    assert [(event.kind, event.step, event.text) for event in done.events] == [
        ("note", 0, "OpenHands SDK 1.58.0"),
        ("assistant", 2, "Hello."),
    ]
    assert done.log == json.dumps(MESSAGE).encode() + b"\n"
    assert done.end is not None
    ending = done.end.ending(50)
    assert ending.reason is StopReason.TURN_CAP
    assert ending.usage.turns == 5
    assert ending.usage.tool_calls == 7
    assert done.end.ending(3).usage.turns == 3


def test_lines_come_in_any_pieces(tmp_path: Path) -> None:
    output = line("ready", 0, READY) + line("event", 1, MESSAGE) + line("end", 1, END)
    done = read(tmp_path, *(bytes([byte]) for byte in output))
    assert done.ended
    assert len(done.events) == 2


def test_what_is_no_line_is_kept_apart(tmp_path: Path) -> None:
    done = read(tmp_path, b"Traceback\n  event 1 {}\nevent x {}\nevent 99999999999 {}\n")
    assert done.stray.startswith(b"Traceback\n  event 1 {}\nevent x {}\n")
    assert not done.ready
    assert done.events == []


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"3", b"null", b'"x"', b"[" * 100_000, b'{"sdk": 1}', b'{"turns": NaN}'],
)
@pytest.mark.parametrize("kind", [b"event", b"ready", b"end"])
def test_malformed_lines_are_noted(tmp_path: Path, kind: bytes, text: bytes) -> None:
    done = read(tmp_path, kind + b" 1 " + text + b"\n")
    assert not done.ended
    assert done.ready == (kind == b"ready")
    assert [event.kind for event in done.events] == ["note"]


def test_text_of_half_characters_and_deep_lists_can_be_written(tmp_path: Path) -> None:
    half = b'event 1 {"kind": "AgentErrorEvent", "error": "a\\ud800b", "tool_name": "\\udfff"}\n'
    deep = b"[" * 900 + b"]" * 900
    nested = b'event 1 {"kind": "ActionEvent", "thought": ' + deep + b"}\n"
    done = read(tmp_path, half, nested)
    assert done.events[0].text == "a?b"
    assert len(done.events) == 2
    for event in done.events:
        event.model_dump_json()


def test_the_end_has_a_known_reason(tmp_path: Path) -> None:
    assert read(tmp_path, line("end", 1, END | {"reason": "resolved"})).end is None


def test_turns_never_go_back_or_over_the_budget(tmp_path: Path) -> None:
    done = read(tmp_path, *(line("event", turns, MESSAGE) for turns in (1, 3, 2, 900, 4)))
    assert [event.step for event in done.events] == [1, 3, 3, 5, 5]


def test_a_huge_line_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES", 1000)
    huge = b"event 1 " + b"x" * 5000
    done = read(tmp_path, huge[:2000], huge[2000:], b"yyy\n", line("event", 1, MESSAGE))
    assert [event.kind for event in done.events] == ["note", "assistant"]
    assert "1,000 bytes" in done.events[0].text


def test_the_log_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "LOG_BYTES", 200)
    done = read(tmp_path, *[line("event", 1, MESSAGE)] * 9)
    assert len(done.log) < 200
    assert sum(event.kind == "assistant" for event in done.events) == 9
    assert sum("openhands.jsonl is full" in event.text for event in done.events) == 1


def test_stray_output_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "STRAY_BYTES", 50)
    assert len(read(tmp_path, *[b"x" * 30 + b"\n"] * 100).stray) < 100


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary()))
def test_no_output_breaks_the_reader(tmp_path: Path, chunks: list[bytes]) -> None:
    read(tmp_path, *chunks, b"\nevent 1 ", *chunks, b"\n")
