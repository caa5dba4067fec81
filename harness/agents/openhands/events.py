"""OpenHands' events as a trajectory shows them.

They come from the sandbox: no shape is relied on, and every text is bounded.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

Json = Mapping[str, Any]
Kind = Literal["system", "user", "assistant", "action", "observation", "note"]

TEXT_CHARACTERS = 100_000
_VALUE_CHARACTERS = 500
_FIRST = ("kind", "command", "path", "message", "thought")

# No part of what the model reads or writes.
_SILENT = frozenset(
    {"ConversationStateUpdateEvent", "LLMCompletionLogEvent", "StreamingDeltaEvent", "TokenEvent"}
)


class Shown(NamedTuple):
    """One entry of a trajectory."""

    kind: Kind
    text: str
    data: dict[str, Any]


def shown(event: Json) -> Iterator[Shown]:
    """The entries of one event: none, one, or a thought and its action."""
    name = str(event.get("kind"))
    if name == "SystemPromptEvent":
        parts = (event.get("system_prompt"), event.get("dynamic_context"))
        tools = ", ".join(str(tool.get("title")) for tool in _dicts(event.get("tools")))
        yield _shown("system", "\n\n".join(filter(None, map(_text, parts))), tools=tools)
    elif name == "MessageEvent":
        yield from _message(event)
    elif name == "ActionEvent":
        yield from _action(event)
    elif name in ("ObservationEvent", "UserRejectObservation"):
        yield _observation(event)
    elif name == "AgentErrorEvent":
        yield _shown(
            "observation", str(event.get("error")), tool=event.get("tool_name"), error=True
        )
    elif name == "Condensation":
        forgotten = event.get("forgotten_event_ids")
        count = len(forgotten) if isinstance(forgotten, list) else None
        yield _shown("note", f"condensed: {event.get('summary')}", forgotten=count)
    elif name == "ConversationErrorEvent":
        yield _shown("note", f"{event.get('code')}: {event.get('detail')}")
    elif name not in _SILENT:
        yield _shown("note", name)


def clip(text: str, limit: int = TEXT_CHARACTERS) -> str:
    """The text, or its beginning and end with a note of what is left out between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def _message(event: Json) -> Iterator[Shown]:
    message = _dict(event.get("llm_message"))
    if event.get("source") != "agent":
        yield _shown("user", _text(message.get("content")), source=event.get("source"))
        return
    yield _shown(
        "assistant", _text(message.get("content")), reasoning=message.get("reasoning_content")
    )


def _action(event: Json) -> Iterator[Shown]:
    thought = _text(event.get("thought"))
    reasoning = event.get("reasoning_content")
    if thought or reasoning:
        yield _shown("assistant", thought or str(reasoning), reasoning=reasoning)
    tool, summary = event.get("tool_name"), event.get("summary")
    if isinstance(summary, str) and summary.startswith(f"{tool}: {{"):
        summary = None  # made from the arguments where the model gave none
    yield _shown("action", f"{tool}: {_arguments(event)}", summary=summary)


def _arguments(event: Json) -> str:
    """What a tool is called with: the first argument that says what to do, then the others."""
    arguments = _dict(event.get("action"))
    if not arguments:  # refused before it was an action
        return _text(_dict(event.get("tool_call")).get("arguments"))
    rest = {key: value for key, value in arguments.items() if value and key not in _FIRST}
    parts = [str(arguments[key]) for key in _FIRST[1:] if arguments.get(key)]
    for key, value in rest.items():
        text = value if isinstance(value, str) else json.dumps(value)
        parts.append(f"\n[{key}]\n{text}" if "\n" in text else f"{key}={text}")
    return " ".join(parts)


def _observation(event: Json) -> Shown:
    observation = _dict(event.get("observation"))
    data = {key: observation.get(key) for key in ("exit_code", "timeout", "is_error")}
    text = _text(observation.get("content")) or str(event.get("rejection_reason", ""))
    return _shown("observation", text, tool=event.get("tool_name"), **data)


def _shown(kind: Kind, text: str, **data: Any) -> Shown:
    said = {key: value for key, value in data.items() if value or value == 0}
    kept = {key: _bounded(value) for key, value in said.items() if value is not False}
    return Shown(kind, _unicode(clip(text)) or "(nothing)", kept)


def _bounded(value: Any) -> Any:
    if isinstance(value, bool | int):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return _unicode(clip(text, _VALUE_CHARACTERS))


def _unicode(text: str) -> str:
    """The text without halves of characters, which JSON can hold and no file can."""
    return text.encode(errors="replace").decode()


def _text(value: Any) -> str:
    """The text of a content: plain, an object with `text`, or a list of such."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(_text, value)))
    return _text(value.get("text")) if isinstance(value, dict) and "text" in value else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
