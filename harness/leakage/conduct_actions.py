"""What an agent did in an attempt and what came of it, whatever agent it was."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.gateway.calls import read_calls
from harness.suites.rows import Unreadable, read_rows

_TOOL = re.compile(
    r"(?P<tool>terminal|execute_bash|bash|file_editor|str_replace_editor|grep|glob|task_tracker"
    r"|finish|think)(?:: |:$)(?P<rest>.*)",
    re.S,
)
_SHELLS = frozenset({"terminal", "execute_bash", "bash"})
_EDITORS = frozenset({"file_editor", "str_replace_editor"})
_EDIT = re.compile(r"(?P<how>create|str_replace|insert|view|undo_edit) (?P<path>/\S+)")
_WRAPPED = re.compile(
    r"<returncode>-?\d+</returncode>\s*(?:<exception>.*?</exception>\s*)?"
    r"<output>\n?(?P<output>.*?)\n?</output>.*",
    re.S,
)
_MOST_TEXT = 200_000

Kind = Literal["shell", "edit", "other"]


@dataclass(frozen=True)
class Action:
    """One action. `ok` is whether it succeeded, None where nothing says so.

    `text` is the command of a shell, or everything an editor was told; `path` is of an editor that
    wrote a file.
    """

    place: str
    kind: Kind
    text: str
    path: str
    output: str
    ok: bool | None


def actions(attempt: Path) -> list[Action]:
    """The actions of an attempt in their order: of `events.jsonl`, or where that has none, the
    tool calls of `calls.parquet`."""
    events, calls = attempt / "events.jsonl", attempt / "calls.parquet"
    found = list(_from_events(events)) if events.is_file() else []
    if not found and calls.is_file():
        found = list(_from_calls(calls))
    return found


def _from_events(path: Path) -> Iterator[Action]:
    waiting: list[tuple[str, str]] = []
    for number, row in read_rows(path):
        if isinstance(row, Unreadable) or not isinstance(row, dict):
            continue
        kind, text = row.get("kind"), str(row.get("text", ""))[:_MOST_TEXT]
        if kind == "action":
            waiting.append((f"{path}:{number}", text))
        elif kind == "observation" and waiting:
            place, command = waiting.pop(0)
            yield _action(place, command, _output(text), _ended(row.get("data"), text))
    for place, command in waiting:
        yield _action(place, command, "", None)


def _output(text: str) -> str:
    """An observation without what an agent's loop puts around a command's output."""
    found = _WRAPPED.fullmatch(text)
    return found["output"] if found else text


def _ended(data: Any, text: str) -> bool | None:
    found = data if isinstance(data, dict) else {}
    code = found.get("returncode", found.get("exit_code"))
    if found.get("error") or found.get("is_error") or found.get("timed_out"):
        return False
    if isinstance(code, int):
        return code == 0
    return False if text.startswith("ERROR") else None


def _action(place: str, said: str, output: str, ok: bool | None) -> Action:
    found = _TOOL.fullmatch(said)
    if not found:
        return Action(place, "shell", said, "", output, ok)
    return _of_tool(place, found["tool"], found["rest"], output, ok)


def _of_tool(place: str, tool: str, text: str, output: str, ok: bool | None) -> Action:
    if tool in _SHELLS:
        return Action(place, "shell", text, "", output, ok)
    edit = _EDIT.match(text) if tool in _EDITORS else None
    if edit:
        path = "" if edit["how"] == "view" else edit["path"]
        return Action(place, "edit", text, path, output, ok)
    return Action(place, "other", text, "", output, ok)


def _from_calls(path: Path) -> Iterator[Action]:
    outputs: dict[str, str] = {}
    made: list[tuple[str, str, str, str]] = []
    for row in read_calls(path):
        for message in _messages(row.request):
            if message.get("role") == "tool":
                outputs[str(message.get("tool_call_id"))] = _plain(message.get("content"))
        for call in _tool_calls(row.response):
            function = call.get("function") or {}
            name, arguments = str(function.get("name")), _arguments(function.get("arguments"))
            made.append((f"{path}:call {row.call}", str(call.get("id")), name, arguments))
    for place, identity, name, arguments in made:
        yield _of_tool(place, name, arguments, outputs.get(identity, "")[:_MOST_TEXT], None)


def _messages(request: bytes) -> list[dict[str, Any]]:
    found = _json(request).get("messages")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _tool_calls(response: bytes) -> list[dict[str, Any]]:
    choices = _json(response).get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return []
    found = (choices[0].get("message") or {}).get("tool_calls")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _arguments(text: Any) -> str:
    """A tool's arguments as an event shows them: the command or the path first."""
    given = _json(text.encode(errors="replace")) if isinstance(text, str) else {}
    parts = [str(given[name]) for name in ("command", "path") if given.get(name)]
    rest = [str(value) for name, value in given.items() if name not in ("command", "path")]
    return " ".join([*parts, *rest])[:_MOST_TEXT]


def _plain(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(each.get("text", "")) for each in content if isinstance(each, dict))
    return str(content or "")


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
