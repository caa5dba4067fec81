"""A text teacher behind an OpenAI-compatible endpoint."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import httpx
import orjson

from trainers.engine.errors import TeacherError
from trainers.omniopd.settings import EndpointSettings
from trainers.omniopd.teachers.base import most_tokens
from trainers.omniopd.teachers.capability import Capability, Continues, probe
from trainers.omniopd.texts import Answer, Ask
from trainers.teachers.http_client import HttpClient
from trainers.teachers.vllm_client import authorization

_CONTINUE = (
    "Continue your last message from exactly where it stops. Repeat nothing of it, add no comment, "
    "begin with the very next character."
)
_REPEATED = 12  # characters that an answer has to share with the end of a text to be a repetition
_LARGEST = 2**24  # bytes of an answer
_LONGEST = 2**16  # characters of a continuation
_CHARACTERS_OF_A_TOKEN = 4  # where an endpoint counts none


class Said(NamedTuple):
    """One answer of the endpoint."""

    texts: list[str]
    prompt_tokens: int
    generated_tokens: int
    cached_tokens: int


class EndpointContinuer:
    """Asks for chat answers that go on where the student's stopped, or for bare completions.

    capability: what the endpoint can do; asked of it by `check`, unless it is given.
    """

    def __init__(self, settings: EndpointSettings, capability: Capability | None = None) -> None:
        self._settings = settings
        self._prefix = "/v1" if settings.endpoint.startswith("unix:") else ""
        self._http = HttpClient(
            settings.endpoint.rstrip("/"),
            headers=authorization(settings.api_key_env, "text_teacher"),
            timeout_s=settings.timeout_s,
            attempts=settings.attempts,
            connections=settings.concurrency,
        )
        self.capability = capability
        self.concurrency = settings.concurrency

    @property
    def identity(self) -> dict[str, str]:
        """See `TextTeacher`."""
        if self.capability is None:
            self.capability = probe(self._status_and_texts, self._settings)
        settings = self._settings
        return {
            "kind": "endpoint",
            "model": settings.model,
            "prompt": settings.prompt,
            "continues": self.capability.continues,
            "temperature": str(settings.temperature),
            "top_p": str(settings.top_p),
            "length_factor": str(settings.length_factor),
        }

    def check(self, asks: Sequence[Ask]) -> None:
        """Find out what the endpoint can do. Raises TeacherError when it does not answer."""
        _ = self.identity

    def answer(self, ask: Ask, count: int, seed: int) -> Answer:
        """See `Continuer`."""
        assert self.capability is not None
        began = time.monotonic()
        body = self._body(ask) | {"max_tokens": most_tokens(ask, self._settings.length_factor)}
        each = count if self.capability.several else 1
        said: list[Said] = []
        while (missing := count - sum(len(one.texts) for one in said)) > 0:
            mine = {"n": min(each, missing), "seed": _seed(seed, ask, len(said))}
            said.append(self._say(body | mine, ask))
        return Answer(
            texts=tuple(self._cut(ask, text) for one in said for text in one.texts),
            prompt_tokens=sum(one.prompt_tokens for one in said),
            generated_tokens=sum(one.generated_tokens for one in said),
            cached_tokens=sum(one.cached_tokens for one in said),
            requests=len(said),
            seconds=time.monotonic() - began,
        )

    def _body(self, ask: Ask) -> dict[str, Any]:
        assert self.capability is not None
        settings, how = self._settings, self.capability.continues
        body = {
            "model": settings.model,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
        }
        if how is Continues.TEXT:
            return body | {"prompt": ask.text}
        messages = [message.model_dump() for message in ask.messages]
        text = ask.text if self.capability.trailing_space else ask.text.rstrip()
        if not text:
            return body | {"messages": messages}
        messages.append({"role": "assistant", "content": text})
        if how is Continues.FLAG:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        elif how is Continues.INSTRUCTION:
            messages.append({"role": "user", "content": _CONTINUE})
        return body | {"messages": messages}

    def _cut(self, ask: Ask, text: str) -> str:
        """What an answer adds to the text that was asked about."""
        assert self.capability is not None
        if self.capability.continues is Continues.INSTRUCTION:
            text = _without_repetition(ask.text, text)
        space = ask.text[len(ask.text.rstrip()) :]
        if space and not self.capability.trailing_space and ask.messages:
            text = text.removeprefix(space)
        return text[:_LONGEST]

    def _say(self, body: Mapping[str, Any], ask: Ask) -> Said:
        status, found, error = self._request(body)
        if status != httpx.codes.OK:
            raise error
        texts = _texts(found)
        if not texts or len(texts) > body["n"]:
            raise TeacherError(
                f"text_teacher {self._settings.endpoint}: {len(texts)} answers where {body['n']} "
                "were asked for: is it an OpenAI-compatible endpoint?"
            )
        usage = found.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        characters = len(ask.text) + sum(len(message.content) for message in ask.messages)
        guess = -(-characters // _CHARACTERS_OF_A_TOKEN)
        return Said(
            texts,
            _count(usage, "prompt_tokens", guess),
            _count(usage, "completion_tokens", len(texts) * int(body["max_tokens"])),
            _count(details, "cached_tokens", 0),
        )

    def _status_and_texts(self, body: Mapping[str, Any]) -> tuple[int, list[str]]:
        """For the probe. Raises TeacherError for answers that are about no ask in particular."""
        status, found, error = self._request({"model": self._settings.model, **body})
        if status not in (
            httpx.codes.OK,
            httpx.codes.BAD_REQUEST,
            httpx.codes.UNPROCESSABLE_ENTITY,
        ):
            raise error
        return status, _texts(found) if status == httpx.codes.OK else []

    def _request(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any], TeacherError]:
        path = f"{self._prefix}/{'completions' if 'prompt' in body else 'chat/completions'}"
        answer = self._http.ask("POST", path, orjson.dumps(body))
        error = self._http.refused(path, answer)
        if answer.status_code != httpx.codes.OK:
            return answer.status_code, {}, error
        try:
            if len(answer.content) > _LARGEST:
                raise ValueError(f"{len(answer.content):,} bytes")
            found = orjson.loads(answer.content)
            if not isinstance(found, dict):
                raise ValueError("no object")
        except ValueError as wrong:
            raise TeacherError(
                f"text_teacher {self._settings.endpoint}{path}: the answer is no JSON object of "
                f"an endpoint ({wrong})"
            ) from None
        return answer.status_code, found, error


def _texts(found: Mapping[str, Any]) -> list[str]:
    """The texts of an answer's choices; a refusal or nothing at all is the empty text."""
    try:
        parts = [choice.get("message", choice) for choice in found["choices"]]
        texts = [part.get("content", part.get("text")) or "" for part in parts]
        return [str(text) for text in texts]
    except (KeyError, TypeError, AttributeError):
        return []


def _count(found: Any, name: str, otherwise: int) -> int:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, int) and value >= 0 else otherwise


def _seed(seed: int, ask: Ask, number: int) -> int:
    """Of one request: the same text is continued alike whatever else is asked."""
    digest = hashlib.sha256(f"{seed} {number} {ask.messages} {ask.text}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


def _without_repetition(before: str, text: str) -> str:
    """An answer without the end of the text that it was to continue."""
    for size in range(min(len(before), len(text)), 0, -1):
        if before.endswith(text[:size]) and (size >= _REPEATED or size == len(before)):
            return text[size:]
    return text
