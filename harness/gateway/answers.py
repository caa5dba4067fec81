"""What an answer holds: token ids for the record, the rest for the agent."""

from array import array
from collections.abc import Sequence
from typing import Any

import orjson

from harness.gateway.failures import PassingError
from harness.gateway.wire import Json

_PROMPT_IDS = b'"prompt_token_ids":['  # inside a JSON string a backslash would be in it


def parse_answer(data: bytes) -> tuple[Any, bytes]:
    """A JSON text and, apart from it, the text of the prompt's token ids.

    The ids, which are most of an answer, are kept from the JSON parser: that takes several times
    as long as all else, and nobody but the record's writer needs them. Raises JSONDecodeError.
    """
    start = data.find(_PROMPT_IDS) + len(_PROMPT_IDS)
    end = data.find(b"]", start)
    ids = data[start:end]
    if start < len(_PROMPT_IDS) or end < 0 or not ids or ids.translate(None, b"0123456789,"):
        return orjson.loads(data), b""
    return orjson.loads(data[: start - 1] + b"null" + data[end + 1 :]), ids


class Tokens:
    """Token ids and log-probs of one answer, gathered from it or from its pieces.

    prompt: ids, or their text as `parse_answer` gives it.
    """

    def __init__(self, prompt: bytes = b"") -> None:
        self.prompt: array[int] | bytes = prompt
        self.sampled: array[int] = array("i")
        self._logprobs: array[float] = array("f")

    def take(self, answer: Json) -> None:
        """Remove ids and log-probs from an answer or a stream's piece, and keep them."""
        prompt = answer.pop("prompt_token_ids", None)
        if prompt:
            self.prompt = _numbers("i", prompt)
        for choice in answer["choices"]:
            sampled = choice.pop("token_ids", None)
            if sampled:
                self.sampled.extend(_numbers("i", sampled))
            logprobs = choice.pop("logprobs", None)
            if logprobs:
                self._logprobs.extend(_logprobs(logprobs))

    @property
    def prompt_tokens(self) -> int:
        """How many ids the prompt has."""
        if isinstance(self.prompt, bytes):
            return self.prompt.count(b",") + bool(self.prompt)
        return len(self.prompt)

    @property
    def complete(self) -> bool:
        """Whether the endpoint gave all ids."""
        return bool(self.prompt and self.sampled)

    @property
    def logprobs(self) -> Sequence[float]:
        """One for each sampled id; none at all where the numbers differ."""
        return self._logprobs if len(self._logprobs) == len(self.sampled) else ()


def cap_tool_calls(message: Json, most: int) -> int:
    """Remove the tool calls of a message beyond a number; gives how many were removed."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or len(calls) <= most:
        return 0
    message["tool_calls"] = calls[:most]
    return len(calls) - most


def token_counts(usage: object) -> tuple[int, int, int]:
    """Prompt, cached and generated tokens of an answer's `usage`; 0 where it does not say."""
    if not isinstance(usage, dict):
        return 0, 0, 0
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    counts = (usage.get("prompt_tokens"), cached, usage.get("completion_tokens"))
    prompt, cached, generated = (n if type(n) is int and n > 0 else 0 for n in counts)
    return prompt, min(cached, prompt), generated


def check_shape(answer: object, part: str) -> Json:
    """An answer whose choices hold a `message` or `delta`. Raises PassingError."""
    if not isinstance(answer, dict):
        raise PassingError("the answer is no JSON object")
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(
        isinstance(choice, dict) and isinstance(choice.get(part), dict) for choice in choices
    ):
        raise PassingError(f"the answer has no choices with a {part}")
    return answer


def _logprobs(logprobs: Any) -> list[float]:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    try:
        return [entry["logprob"] for entry in content or ()]
    except (TypeError, KeyError):
        return []


def _numbers(kind: Any, values: Any) -> "array[int]":
    try:
        return array(kind, values)
    except (TypeError, OverflowError):
        raise PassingError("the answer's token ids are no 32-bit integers") from None
