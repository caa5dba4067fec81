"""The calls in a model's answer, each with its place in the answer's text."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Protocol = Literal["native", "function", "fence", "repair"]

_FUNCTION = re.compile(
    r"<function=(?P<name>[\w.\-]+)>(?P<body>.*?)(?:</function>?|(?=<function=)|\Z)", re.S
)
_PARAMETER = re.compile(
    r"<parameter=(?P<name>[\w.\-]+)>(?P<value>.*?)(?:</parameter>|(?=<parameter=)|\Z)", re.S
)
_FENCE = re.compile(r"```(?:mswea_bash_command|bash)[ \t]*\n(?P<command>.*?)(?:\n```|\Z)", re.S)
_MOST = 1_000_000


@dataclass(frozen=True)
class Call:
    """A call that the model made: a tool, its arguments, its characters in the answer."""

    tool: str
    arguments: Mapping[str, Any]
    start: int
    end: int


@dataclass(frozen=True)
class Answer:
    """A model's answer as one text.

    `function` is OpenHands' text protocol, `fence` a shell command in a code block: the text is
    what the model wrote. `repair` is a choice of the repair agent's and the end of the turn, which
    belongs to it. `native` calls are rendered after the content, each as
    `<tool_call>` and JSON, for the endpoint took them out of the text.
    """

    protocol: Protocol
    text: str
    calls: tuple[Call, ...]

    def replaced(self, number: int, argument: str, value: str) -> "Answer | None":
        """The answer up to and with one call, which has another value of an argument.

        None where the text cannot be rewritten for certain.
        """
        call = self.calls[number]
        said = self.text[call.start : call.end]
        old = call.arguments.get(argument)
        if self.protocol == "native":
            new = _rendered(call.tool, {**call.arguments, argument: value})
        elif isinstance(old, str) and self.protocol == "function" and _fits(said, old, value):
            new = said.replace(old, value)
        else:
            return None
        made = Call(
            call.tool, {**call.arguments, argument: value}, call.start, call.start + len(new)
        )
        text = self.text[: call.start] + new
        return Answer(self.protocol, text, (*self.calls[:number], made))


def _fits(said: str, old: str, new: str) -> bool:
    """Whether a value can be replaced: it is there once, and OpenHands, which strips values of
    this protocol, takes the same white space off both."""
    return (
        bool(old.strip())
        and said.count(old) == 1
        and old.split(old.strip()) == new.split(new.strip() or None)
    )


def read_answer(response: bytes) -> Answer | None:
    """The answer in a chat completion; None when there is none or its calls cannot be read."""
    message = _message(response)
    if message is None:
        return None
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    if calls := message.get("tool_calls"):
        return _native(text, calls)
    if len(text) > _MOST:
        return None
    if "<function=" in text:
        return Answer("function", text, tuple(_functions(text)))
    fences = list(_FENCE.finditer(text))
    if len(fences) > 1:
        return None
    found = [Call("bash", {"command": one["command"]}, one.start(), one.end()) for one in fences]
    return Answer("fence", text, tuple(found))


def _native(text: str, calls: Any) -> Answer | None:
    found = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            return None
        arguments = function.get("arguments")
        try:
            given = json.loads(arguments) if isinstance(arguments, str) else arguments
        except (ValueError, RecursionError):
            return None
        if not isinstance(given, dict):
            return None
        tool = str(function.get("name"))
        text += "\n" if text else ""
        start = len(text)
        text += _rendered(tool, given)
        found.append(Call(tool, given, start, len(text)))
    return Answer("native", text, tuple(found))


def _rendered(tool: str, arguments: Mapping[str, Any]) -> str:
    body = json.dumps({"name": tool, "arguments": dict(arguments)}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def _functions(text: str) -> Iterator[Call]:
    for found in _FUNCTION.finditer(text):
        arguments = {
            one["name"]: one["value"].removeprefix("\n").removesuffix("\n")
            if "\n" in one["value"]
            else one["value"]
            for one in _PARAMETER.finditer(found["body"])
        }
        yield Call(found["name"], arguments, found.start(), found.end())


def _message(response: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(response)
    except (ValueError, RecursionError):
        return None
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    return message if isinstance(message, dict) else None
