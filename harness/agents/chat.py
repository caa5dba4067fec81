"""Calls of an OpenAI-compatible chat endpoint: bounded in time, retried, and told apart when they
fail."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from harness.agents.base import Endpoint, EndpointFailure
from harness.records import Record

TRIES = 6
_CONNECT_SECONDS = 10.0
_LONGEST_PAUSE = 60.0
_RETRIED = frozenset({408, 409, 425, 429})


class OutOfTimeError(Exception):
    """The time given for a call is over; the endpoint may be well."""


class ContextOverflowError(Exception):
    """The messages and the answer do not fit into the model's context."""


class RefusedRequestError(Exception):
    """The endpoint says that the request itself is wrong."""


class ToolCall(Record):
    """A tool call of the model, its arguments still text."""

    id: str
    name: str
    arguments: str


class Completion(Record):
    """One answer. Token counts are the endpoint's, 0 where it gives none."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    prompt_tokens: int
    generated_tokens: int
    seconds: float
    tries: int


class ChatClient:
    """A connection to one endpoint. Not to be shared between threads."""

    def __init__(self, endpoint: Endpoint, *, first_pause: float = 1.0) -> None:
        """`first_pause`: seconds before the first retry, at most; each later one may be longer."""
        self._endpoint = endpoint
        self._first_pause = first_pause
        self._runner = asyncio.Runner()
        headers = {}
        if endpoint.api_key is not None:
            headers["Authorization"] = f"Bearer {endpoint.api_key.get_secret_value()}"
        self._http = httpx.AsyncClient(
            base_url=endpoint.base_url.rstrip("/") + "/",
            headers=headers,
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()

    def context_length(self, *, timeout: float) -> int | None:
        """Tokens of the model's context, where the server says so, as vLLM does.

        Raises EndpointFailure, OutOfTimeError.
        """
        answer, _ = self._within(timeout, "GET", "models", None)
        entries = answer.get("data")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("id") == self._endpoint.model:
                length = entry.get("max_model_len")
                return length if isinstance(length, int) and length > 0 else None
        return None

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        seed: int,
        max_tokens: int,
        timeout: float,
        tools: Sequence[Mapping[str, Any]] = (),
        stop: str | None = None,
    ) -> Completion:
        """One answer of the model, within `timeout` seconds, retries and pauses included.

        Raises EndpointFailure, OutOfTimeError, ContextOverflowError, RefusedRequestError.
        """
        decoding = self._endpoint.decoding
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": list(messages),
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": max_tokens,
            "seed": seed,
        }
        if tools:
            body["tools"] = list(tools)
        if stop is not None:
            body["stop"] = stop
        began = time.monotonic()
        answer, tries = self._within(timeout, "POST", "chat/completions", body)
        return _completion(answer, time.monotonic() - began, tries)

    def _within(
        self, seconds: float, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], int]:
        return self._runner.run(self._bounded(seconds, method, path, body))

    async def _bounded(
        self, seconds: float, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], int]:
        failures: list[_PassingError] = []
        try:
            async with asyncio.timeout(seconds):
                async for attempt in AsyncRetrying(
                    stop=stop_after_attempt(TRIES),
                    wait=self._pause,
                    retry=retry_if_exception_type(_PassingError),
                    reraise=True,
                ):
                    with attempt:
                        try:
                            answer = await self._once(method, path, body)
                        except _PassingError as failure:
                            failures.append(failure)
                            raise
        except TimeoutError:
            if failures:
                raise EndpointFailure(f"{failures[-1]}, until the time was up") from None
            raise OutOfTimeError(f"no answer within {seconds:.0f} s") from None
        except _PassingError as failure:
            raise EndpointFailure(f"{failure}, {TRIES} times") from failure
        return answer, len(failures) + 1

    def _pause(self, state: RetryCallState) -> float:
        """Seconds before the next try: exponential with full jitter, or what the server asks."""
        longest = min(self._first_pause * 2 ** (state.attempt_number - 1), _LONGEST_PAUSE)
        pause = random.uniform(0, longest)  # noqa: S311
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, _PassingError) else 0.0
        return max(pause, min(asked, _LONGEST_PAUSE))

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        url = f"{self._endpoint.base_url.rstrip('/')}/{path}"
        try:
            answer = await self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise _PassingError(f"{url}: {type(error).__name__}: {error}") from error
        if answer.is_success:
            try:
                value = answer.json()
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise _PassingError(f"{url}: answered {answer.status_code} without a JSON object")
            return value
        message, code = _error(answer)
        said = f"{url}: {answer.status_code}: {message}"
        if answer.status_code >= 500 or answer.status_code in _RETRIED:
            raise _PassingError(said, retry_after=_seconds(answer.headers.get("retry-after")))
        if answer.status_code in (400, 413, 422):
            if code == "context_length_exceeded" or "maximum context length" in message:
                raise ContextOverflowError(message)
            raise RefusedRequestError(said)
        hint = "; a base_url usually ends in /v1" if answer.status_code == 404 else ""
        raise EndpointFailure(said + hint)


class _PassingError(Exception):
    """A failure that another try may not see."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class _Function(BaseModel):
    name: str
    arguments: str


class _RawToolCall(BaseModel):
    id: str
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    tool_calls: list[_RawToolCall] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


def _completion(answer: Mapping[str, Any], seconds: float, tries: int) -> Completion:
    try:
        parsed = _Answer.model_validate(answer)
        choice = parsed.choices[0]
    except (ValidationError, IndexError) as error:
        raise EndpointFailure(f"the endpoint's answer is not a chat completion: {error}") from None
    usage = parsed.usage or _Usage()
    return Completion(
        text=choice.message.content or "",
        tool_calls=tuple(
            ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in choice.message.tool_calls or ()
        ),
        finish_reason=choice.finish_reason,
        prompt_tokens=usage.prompt_tokens,
        generated_tokens=usage.completion_tokens,
        seconds=seconds,
        tries=tries,
    )


def _error(answer: httpx.Response) -> tuple[str, str | None]:
    """Message and code of an error answer; OpenAI's shape, else the text itself."""
    try:
        error = answer.json()["error"]
        return str(error["message"])[:2000], str(error.get("code"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer.text[:2000], None


def _seconds(text: str | None) -> float:
    """A Retry-After header in seconds; 0 for none and for a date."""
    try:
        return max(float(text or 0), 0.0)
    except ValueError:
        return 0.0
