"""OpenHands' events as entries of a trajectory."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.agents.openhands.events import TEXT_CHARACTERS, Shown, shown
from harness.records import Event

ACTION: dict[str, Any] = {
    "kind": "ActionEvent",
    "source": "agent",
    "thought": [{"type": "text", "text": "I look."}],
    "tool_name": "terminal",
    "action": {"kind": "TerminalAction", "command": "ls", "is_input": False, "reset": False},
    "tool_call": {"name": "terminal", "arguments": '{"command": "ls"}'},
}


def only(event: dict[str, Any]) -> Shown:
    (entry,) = shown(event)
    return entry


def test_a_thought_and_its_action() -> None:
    thought, action = shown(ACTION | {"summary": "list files", "reasoning_content": "why"})
    assert thought == ("assistant", "I look.", {"reasoning": "why"})
    assert action == ("action", "terminal: ls", {"summary": "list files"})


def test_a_summary_made_from_the_arguments_is_left_out() -> None:
    _, action = shown(ACTION | {"summary": 'terminal: {"command": "ls"}'})
    assert action.data == {}


def test_an_action_without_a_thought() -> None:
    assert only(ACTION | {"thought": []}).text == "terminal: ls"


def test_an_edit_shows_what_it_changes() -> None:
    arguments = {
        "kind": "FileEditorAction",
        "command": "str_replace",
        "path": "/testbed/a.py",
        "old_str": "a\nb",
        "new_str": "c",
    }
    action = only(ACTION | {"thought": [], "tool_name": "file_editor", "action": arguments})
    assert action.text == ("file_editor: str_replace /testbed/a.py \n[old_str]\na\nb new_str=c")


def test_a_call_that_is_no_action_shows_its_arguments() -> None:
    refused = {**ACTION, "thought": [], "action": None, "tool_name": "nope"}
    assert only(refused).text == 'nope: {"command": "ls"}'


def test_an_observation() -> None:
    entry = only(
        {
            "kind": "ObservationEvent",
            "tool_name": "terminal",
            "observation": {
                "content": [{"type": "text", "text": "a.py"}, {"type": "text", "text": "b.py"}],
                "exit_code": 0,
                "timeout": False,
                "is_error": False,
            },
        }
    )
    assert entry == ("observation", "a.py\nb.py", {"tool": "terminal", "exit_code": 0})


@pytest.mark.parametrize(
    ("event", "kind", "text"),
    [
        ({"kind": "AgentErrorEvent", "error": "no such tool"}, "observation", "no such tool"),
        ({"kind": "ConversationErrorEvent", "code": "A", "detail": "b"}, "note", "A: b"),
        ({"kind": "Condensation", "summary": "long ago"}, "note", "condensed: long ago"),
        ({"kind": "InterruptEvent"}, "note", "InterruptEvent"),
        (
            {"kind": "MessageEvent", "source": "environment", "llm_message": {"content": "go on"}},
            "user",
            "go on",
        ),
        ({}, "note", "None"),
    ],
)
def test_other_events(event: dict[str, Any], kind: str, text: str) -> None:
    entry = only(event)
    assert (entry.kind, entry.text) == (kind, text)


def test_events_about_the_conversation_itself_are_silent() -> None:
    assert list(shown({"kind": "ConversationStateUpdateEvent"})) == []


def test_long_texts_lose_their_middle() -> None:
    entry = only({"kind": "AgentErrorEvent", "error": "a" * TEXT_CHARACTERS + "b"})
    assert len(entry.text) < TEXT_CHARACTERS + 100
    assert "1 characters left out" in entry.text
    assert entry.text.endswith("b")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)
KINDS = (
    "SystemPromptEvent",
    "MessageEvent",
    "ActionEvent",
    "ObservationEvent",
    "AgentErrorEvent",
    "Condensation",
    "ConversationErrorEvent",
)
NAMES = (
    "source",
    "llm_message",
    "content",
    "thought",
    "action",
    "tool_call",
    "arguments",
    "observation",
    "tools",
    "system_prompt",
    "summary",
    "text",
)


@given(
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from(NAMES), json_values | st.dictionaries(st.sampled_from(NAMES), json_values)
    ),
)
def test_no_shape_breaks_it(kind: str, fields: dict[str, Any]) -> None:
    for entry in shown({**fields, "kind": kind}):
        event = Event(step=0, seconds=0, kind=entry.kind, text=entry.text, data=entry.data)
        json.dumps(event.model_dump(mode="json"))
