"""What an endpoint can do to continue a text, found out by asking it."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import httpx

from harness.records.base import Record
from trainers.engine.errors import TeacherError
from trainers.omniopd.settings import EndpointSettings

_BEFORE = "one two three"
_USER = {"role": "user", "content": "Write exactly this: one two three four five six seven"}
_Ask = Callable[[Mapping[str, Any]], tuple[int, list[str]]]


class Continues(StrEnum):
    """How an endpoint is made to continue an answer."""

    TEXT = "text"  # /completions: the bare text
    FLAG = "flag"  # a last assistant message, and vLLM's continue_final_message
    PREFILL = "prefill"  # a last assistant message
    INSTRUCTION = "instruction"  # a request in words to go on


class Capability(Record):
    """several: it gives n answers to one request. trailing_space: an answer to be continued may
    end in white space."""

    continues: Continues
    several: bool
    trailing_space: bool = True


def probe(ask: _Ask, settings: EndpointSettings) -> Capability:
    """Find out with a few short requests. `ask`: gives the status and the texts of an answer.

    An endpoint continues an answer unless it refuses the request, or begins anew. Raises
    TeacherError where no way is left, or the one that the settings want is refused.
    """
    if settings.prompt == "text":
        status, texts = ask({"prompt": _BEFORE, "max_tokens": 4, "n": 2})
        if status != httpx.codes.OK:
            status, texts = ask({"prompt": _BEFORE, "max_tokens": 4, "n": 1})
        if status != httpx.codes.OK:
            raise TeacherError(
                f"text_teacher {settings.endpoint} refuses /completions (status {status}): set "
                "text_teacher.prompt to chat"
            )
        return Capability(continues=Continues.TEXT, several=len(texts) == 2)
    if settings.prefill != "instruction":
        for how in (Continues.FLAG, Continues.PREFILL):
            found = _try(ask, how)
            if found is not None:
                return found
        if settings.prefill == "prefill":
            raise TeacherError(
                f"text_teacher {settings.endpoint} does not continue an assistant's message: set "
                "text_teacher.prefill to auto, and it is asked in words"
            )
    found = _try(ask, Continues.INSTRUCTION)
    if found is None:
        raise TeacherError(
            f"text_teacher {settings.endpoint} refuses a plain chat request of {settings.model!r}"
        )
    return found


def _try(ask: _Ask, how: Continues) -> Capability | None:
    """The capability where this way works."""
    for count in (2, 1):
        status, texts = ask(_body(how, _BEFORE, count))
        if status == httpx.codes.OK and texts:
            break
    else:
        return None
    if how is Continues.INSTRUCTION:
        return Capability(continues=how, several=len(texts) == 2)
    if any(text.lstrip().lower().startswith(_BEFORE[:7]) for text in texts):
        return None
    status, _ = ask(_body(how, _BEFORE + " ", 1))
    space = status == httpx.codes.OK
    return Capability(continues=how, several=len(texts) == 2, trailing_space=space)


def _body(how: Continues, before: str, count: int) -> dict[str, Any]:
    body: dict[str, Any] = {"max_tokens": 8, "temperature": 0, "n": count}
    if how is Continues.INSTRUCTION:
        return body | {"messages": [_USER]}
    messages = [_USER, {"role": "assistant", "content": before}]
    flags = {"continue_final_message": True, "add_generation_prompt": False}
    return body | {"messages": messages} | (flags if how is Continues.FLAG else {})
