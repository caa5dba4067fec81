"""What an endpoint can do, found out with a few tiny requests."""

from collections.abc import Mapping
from typing import Any, Literal

from harness.records.base import Record
from trainers.engine.errors import TeacherError
from trainers.omniopd.settings import EndpointSettings
from trainers.omniopd.teachers.wire import Json, RefusedError, Reply, Wire, named

CONTINUE: Mapping[str, Any] = {"continue_final_message": True, "add_generation_prompt": False}
NEUTRAL: Mapping[str, Any] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""vLLM and its like otherwise take these from the model's generation_config.json."""

Prefill = Literal["none", "continue_final_message", "trailing", "instruction"]

_TOGETHER = 10
_SHOWN = 80
_QUESTION = {"role": "user", "content": "Write: The quick brown fox jumps over the lazy dog."}
_CUT, _REST = "The quick brown fox jumps over the la", "zy"  # in the middle of a word
_SPACE = "The quick brown fox jumps over the "


class Capability(Record):
    """How an endpoint is asked for continuations. Part of what is recorded of a training.

    prefill: `none` where a text is continued; else how the end of an answer is: a trailing
    assistant message with vLLM's `continue_final_message`, one without, or an instruction.
    strips_space: it refuses such a message with white space at its end. together: continuations of
    one request. limit: the name of the most tokens. left_out: parameters that it does not take.
    usage, cached_tokens: whether it counts. served, answers_as: its names of the model. said: its
    words when an answer was to be continued. prompt_tokens, generated_tokens, requests: of asking.
    """

    prefill: Prefill
    strips_space: bool = False
    together: int = 1
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    left_out: tuple[str, ...] = ()
    usage: bool = False
    cached_tokens: bool = False
    served: str = ""
    answers_as: str = ""
    said: tuple[str, ...] = ()
    prompt_tokens: int = 0
    generated_tokens: int = 0
    requests: int = 0


def body(settings: EndpointSettings, left_out: tuple[str, ...], limit: str, tokens: int) -> Json:
    """Model, sampling and the most tokens of a request."""
    found = {
        "model": settings.model,
        limit: tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        **NEUTRAL,
    }
    return {name: value for name, value in found.items() if name not in left_out}


class Probe:
    """Asks an endpoint what it can do."""

    def __init__(self, wire: Wire, settings: EndpointSettings) -> None:
        self._wire = wire
        self._settings = settings
        self._left_out: tuple[str, ...] = ()
        self._limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
        self._replies: list[Reply] = []
        self._said: list[str] = []

    def capability(self, served: str) -> Capability:
        """What it can do. Raises TeacherError where it answers nothing, or cannot do what the
        settings insist on."""
        first = self._negotiate()
        together = len(first.texts)
        if together < _TOGETHER and "n" not in self._left_out:
            self._left_out += ("n",)
        prefill: Prefill = "none"
        strips = False
        if self._settings.prompt == "chat":
            prefill = "instruction" if self._settings.prefill == "instruction" else self._prefill()
            strips = prefill in ("continue_final_message", "trailing") and self._strips(prefill)
        return Capability(
            prefill=prefill,
            strips_space=strips,
            together=1 if "n" in self._left_out else _TOGETHER,
            limit=self._limit,
            left_out=self._left_out,
            usage=first.prompt is not None and first.generated is not None,
            cached_tokens=first.cached is not None,
            served=served,
            answers_as=first.model,
            said=tuple(self._said),
            prompt_tokens=sum(one.prompt or 0 for one in self._replies),
            generated_tokens=sum(one.generated or 0 for one in self._replies),
            requests=len(self._replies),
        )

    def _negotiate(self) -> Reply:
        """A first answer; what the endpoint refuses by name is left out, else one by one."""
        more: Json = {"n": _TOGETHER, "seed": 1}
        refused: TeacherError | None = None
        while True:
            try:
                return self._ask(
                    {name: value for name, value in more.items() if name not in self._left_out}
                )
            except RefusedError as error:
                refused = refused or error
                if not self._drop(error.says):
                    raise refused from None

    def _drop(self, says: str) -> bool:
        """Leave something out; false when nothing more can be."""
        neutral = [*NEUTRAL]
        if self._settings.top_p == 1:
            neutral.append("top_p")
        if self._settings.temperature == 1:
            neutral.append("temperature")
        there = [one for one in ("n", "seed", *neutral) if one not in self._left_out]
        one = named(says, [*there, "max_tokens"])
        if one == "max_tokens" and self._limit == one:
            self._limit = "max_completion_tokens"
        elif one in there:
            self._left_out += (one,)
        elif there:
            self._left_out += tuple([each for each in there if each in NEUTRAL] or there[:1])
        else:
            return False
        return True

    def _prefill(self) -> Prefill:
        with_flags = self._continued(CONTINUE)
        plain = self._continued({})
        for one in (with_flags, plain):
            self._said.append("refused" if one is None else one.texts[0][:_SHOWN])
        if with_flags is not None and _shorter(with_flags, plain):
            return "continue_final_message"  # no end of a turn, no beginning of another
        if plain is not None and _goes_on(plain):
            return "trailing"
        if with_flags is not None and _goes_on(with_flags):
            return "continue_final_message"
        if self._settings.prefill == "prefill":
            raise TeacherError(
                f"text_teacher.prefill: {self._settings.model!r} does not continue an assistant "
                f"message {_CUT!r}; it gave {self._said}: set prefill: auto or instruction"
            )
        return "instruction"

    def _continued(self, flags: Mapping[str, Any], text: str = _CUT) -> Reply | None:
        """Of a trailing assistant message; none where it is refused."""
        more: Json = {"messages": [_QUESTION, {"role": "assistant", "content": text}], **flags}
        if "temperature" not in self._left_out:
            more["temperature"] = 0
        try:
            return self._ask(more)
        except RefusedError:
            return None

    def _strips(self, prefill: Prefill) -> bool:
        flags = CONTINUE if prefill == "continue_final_message" else {}
        return self._continued(flags, _SPACE) is None

    def _ask(self, more: Mapping[str, Any]) -> Reply:
        asked = body(self._settings, self._left_out, self._limit, 4)
        if self._settings.prompt == "text":
            reply = self._wire.complete({**asked, "prompt": "1 2 3 4 5", **more})
        else:
            reply = self._wire.chat({**asked, "messages": [_QUESTION], **more})
        self._replies.append(reply)
        return reply


def _shorter(one: Reply, other: Reply | None) -> bool:
    if one.prompt is None or other is None or other.prompt is None:
        return False
    return one.prompt < other.prompt


def _goes_on(reply: Reply) -> bool:
    return reply.texts[0].startswith(_REST)
