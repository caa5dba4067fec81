"""Calls of an OpenAI-compatible chat endpoint: bounded in time, and told apart when they fail.

The gateway in front of the endpoint tries again what fails, and fixes how the model samples.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import BaseModel, ValidationError

from harness.agents.base import Endpoint, EndpointFailure
from harness.records import Record

_CONNECT_SECONDS = 10.0


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


class ChatClient:
    """A connection to one endpoint. Not to be shared between threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._runner = asyncio.Runner()
        headers = {}
        if endpoint.api_key is not None:
            headers["Authorization"] = f"Bearer {endpoint.api_key.get_secret_value()}"
        self._http = httpx.AsyncClient(
            base_url=endpoint.base_url.rstrip("/") + "/",
            headers=headers,
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            transport=httpx.AsyncHTTPTransport(
                # Loading certificates takes longer than a small model's answer.
                verify=endpoint.base_url.lower().startswith("https:"),
                uds=str(endpoint.socket) if endpoint.socket else None,
            ),
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
        answer = self._within(timeout, "GET", "models", None)
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
        max_tokens: int,
        timeout: float,
        tools: Sequence[Mapping[str, Any]] = (),
        stop: str | None = None,
        choices: Sequence[str] = (),
    ) -> Completion:
        """One answer of the model, within `timeout` seconds.

        choices: the answer has to be exactly one of them, as vLLM's `structured_outputs` has it.

        Raises EndpointFailure, OutOfTimeError, ContextOverflowError, RefusedRequestError.
        """
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": list(messages),
            "max_tokens": max_tokens,
        }
        if tools:
            body["tools"] = list(tools)
        if stop is not None:
            body["stop"] = stop
        if choices:
            body["structured_outputs"] = {"choice": list(choices)}
        began = time.monotonic()
        answer = self._within(timeout, "POST", "chat/completions", body)
        return _completion(answer, time.monotonic() - began)

    def _within(
        self, seconds: float, method: str, path: str, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        async def bounded() -> dict[str, Any]:
            try:
                async with asyncio.timeout(seconds):
                    return await self._once(method, path, body)
            except TimeoutError:
                raise OutOfTimeError(f"no answer within {seconds:.0f} s") from None

        return self._runner.run(bounded())

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        url = f"{self._endpoint.base_url.rstrip('/')}/{path}"
        try:
            answer = await self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise EndpointFailure(f"{url}: {type(error).__name__}: {error}") from error
        if answer.is_success:
            try:
                value = answer.json()
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise EndpointFailure(f"{url}: answered {answer.status_code} without a JSON object")
            return value
        message, code = _error(answer)
        said = f"{url}: {answer.status_code}: {message}"
        if answer.status_code in (400, 413, 422):
            if code == "context_length_exceeded" or "maximum context length" in message:
                raise ContextOverflowError(message)
            raise RefusedRequestError(said)
        hint = "; a base_url usually ends in /v1" if answer.status_code == 404 else ""
        raise EndpointFailure(said + hint)


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


def _completion(answer: Mapping[str, Any], seconds: float) -> Completion:
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
    )


def _error(answer: httpx.Response) -> tuple[str, str | None]:
    """Message and code of an error answer; OpenAI's shape, else the text itself."""
    try:
        error = answer.json()["error"]
        return str(error["message"])[:2000], str(error.get("code"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer.text[:2000], None
