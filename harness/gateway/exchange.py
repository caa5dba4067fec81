"""One chat call: its request, its answer, and the row that records both."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import orjson
from aiohttp import web

from harness.agents.base import Endpoint
from harness.gateway.answers import Tokens, cap_tool_calls, token_counts
from harness.gateway.calls import CallRow
from harness.gateway.failures import EndpointError, PassingError, RejectedError
from harness.gateway.options import GatewayOptions
from harness.gateway.stream import AnswerStream, Assembler, Source
from harness.gateway.upstream import Tries
from harness.gateway.wire import Extras, Json

T = TypeVar("T")


class Answers(Protocol):
    """Where answers come from; `Upstream` is the endpoint itself."""

    async def whole(self, body: bytes, tries: Tries) -> tuple[Json, Tokens]:
        """See `Upstream.whole`."""
        ...

    async def stream(self, body: bytes, tries: Tries, begin: Callable[[Source], Awaitable[T]]) -> T:
        """See `Upstream.stream`."""
        ...

    async def card(self) -> Json:
        """See `Upstream.card`."""
        ...

    def cut(self) -> None:
        """See `Upstream.cut`."""
        ...


@dataclass(frozen=True)
class Line:
    """What all attempts of a run share, but for the `upstream` of one that is replayed."""

    endpoint: Endpoint
    options: GatewayOptions
    upstream: Answers
    extras: Extras


class CutError(Exception):
    """A stream broke off after its beginning had gone to the agent."""


class Exchange:
    """Gets one answer and notes it in the row of its call."""

    def __init__(self, line: Line, row: CallRow, most_tool_calls: int) -> None:
        """`row.request`: what to send, without parameters for token ids."""
        self.tries = Tries()
        self.tool_calls = 0
        self.complete = False
        self._line = line
        self._row = row
        self._most_tool_calls = most_tool_calls
        self._began = time.monotonic()

    async def whole(self) -> bytes:
        """The answer in one piece, as the agent gets it. Raises EndpointError, RejectedError."""

        async def ask(body: bytes) -> tuple[Json, Tokens]:
            return await self._line.upstream.whole(body, self.tries)

        answer, tokens = await self._with_extras(ask)
        self._first_byte()
        self._require(tokens)
        message = answer["choices"][0]["message"]
        full = orjson.dumps(answer)
        dropped = cap_tool_calls(message, self._most_tool_calls)
        self.tool_calls = len(message.get("tool_calls") or ())
        choice = answer["choices"][0]
        self._note(full, answer.get("usage"), choice, tokens, dropped)
        self.complete = True
        return orjson.dumps(answer) if dropped else full

    async def stream(self, request: web.BaseRequest, *, wants_usage: bool) -> web.StreamResponse:
        """Pass the answer on as it comes.

        Raises EndpointError, RejectedError before anything was passed on, CutError after.
        """

        async def begin(events: Source) -> tuple[AnswerStream, bytes]:
            assembler = Assembler(self._most_tool_calls, wants_usage=wants_usage)
            stream = AnswerStream(events, assembler)
            return stream, await stream.begin()

        async def ask(body: bytes) -> tuple[AnswerStream, bytes]:
            return await self._line.upstream.stream(body, self.tries, begin)

        stream, beginning = await self._with_extras(ask)
        self._first_byte()
        try:
            if not stream.assembler.tokens.prompt:
                self._require(stream.assembler.tokens)
            return await self._relay(request, stream, beginning)
        finally:
            stream.close()
            self._note_stream(stream.assembler)

    async def _relay(
        self, request: web.BaseRequest, stream: AnswerStream, beginning: bytes
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        patience = self._line.options.stall_seconds
        await response.prepare(request)
        part = beginning
        while part:
            self.complete = stream.done
            async with asyncio.timeout(patience):
                await response.write(part)
            try:
                part = await stream.next()
            except PassingError as failure:
                self._line.upstream.cut()
                raise CutError(str(failure)) from None
        await response.write_eof()
        await stream.drain()
        return response

    async def _with_extras(self, ask: Callable[[bytes], Awaitable[T]]) -> T:
        """Ask, with the parameters for token ids that the endpoint takes."""
        rejected: RejectedError | None = None
        for extras in self._line.extras.candidates():
            try:
                answer = await ask(_with(self._row.request, extras))
            except RejectedError as error:
                rejected = error
                if error.overflow:
                    break
            else:
                self._line.extras.accepted(extras)
                return answer
        assert rejected is not None
        raise rejected

    def _require(self, tokens: Tokens) -> None:
        if self._line.extras.required and not tokens.complete:
            raise EndpointError(
                "the endpoint gives no token ids, and the run requires them: serve the model with "
                "vLLM 0.10.2 or later, or set token_ids to auto"
            )

    def _first_byte(self) -> None:
        self._row.first_byte_seconds = time.monotonic() - self._began

    def _note_stream(self, assembler: Assembler) -> None:
        answer = assembler.whole()
        choice = answer["choices"][0] | {"stop_reason": assembler.stop_reason}
        dropped = max(assembler.tool_calls - self._most_tool_calls, 0)
        self.tool_calls = assembler.tool_calls - dropped
        self._note(orjson.dumps(answer), assembler.usage, choice, assembler.tokens, dropped)

    def _note(
        self, response: bytes, usage: object, choice: Json, tokens: Tokens, dropped: int
    ) -> None:
        row = self._row
        row.response = response
        row.tools_dropped = dropped
        reasons = choice.get("finish_reason"), choice.get("stop_reason")
        row.finish_reason, row.stop_reason = (
            None if reason is None else str(reason) for reason in reasons
        )
        row.prompt_tokens, row.cached_tokens, row.generated_tokens = token_counts(usage)
        if tokens.complete:
            row.ids_from = "endpoint"
            row.prompt_ids, row.sampled_ids = tokens.prompt, tokens.sampled
            row.logprobs = tokens.logprobs
        row.prompt_tokens = row.prompt_tokens or tokens.prompt_tokens
        row.generated_tokens = row.generated_tokens or len(tokens.sampled)


def _with(request: bytes, extras: Json) -> bytes:
    """A request with parameters added to its text: prompts are long, and written once."""
    return request[:-1] + b"," + orjson.dumps(extras)[1:] if extras else request
