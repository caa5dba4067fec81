"""How a chat model is made to continue an answer, and what of its words is the continuation."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from trainers.omniopd.teachers.probe import CONTINUE, Prefill
from trainers.omniopd.texts import Ask

INSTRUCTION = (
    "Your last message was cut off. Continue it exactly from where it ends: write only what comes "
    "next, from the very next character on. Do not repeat anything and do not comment."
)
_OVERLAP = 8  # characters that are no coincidence
_MOST_OVERLAP = 2**14


class Framed(NamedTuple):
    """What is sent, and how the answer is read.

    white_space: taken from the end of the answer so far. repeats: what an answer may begin with
    once more the end of.
    """

    parameters: Mapping[str, Any]
    white_space: str = ""
    repeats: str = ""

    def continuation(self, text: str) -> str:
        """An answer without what was there already."""
        if self.repeats:
            text = text[_repeated(self.repeats, text) :]
        same = 0
        for expected, found in zip(self.white_space, text, strict=False):
            if expected != found:
                break
            same += 1
        return text[same:]


def frame(ask: Ask, prefill: Prefill, *, strips_space: bool) -> Framed:
    """The parameters of a request for continuations of a text."""
    if prefill == "none":
        return Framed({"prompt": ask.text})
    messages = [message.model_dump() for message in ask.messages]
    instruct = prefill == "instruction"
    text = ask.text.rstrip() if strips_space else ask.text
    white_space = ask.text[len(text) :]
    if not text.strip():
        return Framed({"messages": messages}, ask.text)
    messages.append({"role": "assistant", "content": text})
    if instruct:
        messages.append({"role": "user", "content": INSTRUCTION})
        return Framed({"messages": messages}, repeats=text)
    flags = CONTINUE if prefill == "continue_final_message" else {}
    return Framed({"messages": messages, **flags}, white_space)


def _repeated(text: str, answer: str) -> int:
    """How many characters of an answer are the end of a text, or all of it, once more."""
    for size in range(min(len(text), len(answer), _MOST_OVERLAP), 0, -1):
        again = answer[:size]
        if text.endswith(again) and (size >= _OVERLAP or again.isspace()):
            return size
    return 0
