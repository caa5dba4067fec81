"""One attempt's side of the gateway, inside its event loop."""

import asyncio
import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import orjson
from aiohttp import web

from harness.gateway.calls import CallRow, CallWriter
from harness.gateway.exchange import CutError, Exchange, Line
from harness.gateway.failures import EndpointError, RefusedError, RejectedError
from harness.gateway.meter import AGENT, BudgetError, Meter
from harness.gateway.report import DoorReport, Ending
from harness.gateway.retokenise import Retokeniser
from harness.gateway.server import SocketServer, read_body
from harness.gateway.wire import (
    Json,
    bad_request,
    call_seed,
    check,
    most_tokens,
    outgoing,
    overridden,
)
from harness.records import Budget, ModelCalls

PURPOSE_HEADER = "X-Harness-Purpose"

_FREE_REFUSALS = 3
_LONGEST_PENALTY = 5.0
_RETOKENISE_SECONDS = 30.0
_MOST_BRACKETS = 250_000  # as many JSON containers take a third of a second to parse

_log = logging.getLogger(__name__)


class AttemptDoor:
    """Serves the model to one attempt, within its budget, and records every call."""

    def __init__(
        self,
        line: Line,
        retokeniser: Retokeniser,
        writer: CallWriter,
        *,
        budget: Budget,
        seed: int,
        purposes: frozenset[str],
    ) -> None:
        self._line = line
        self._purposes = purposes
        self._retokeniser = retokeniser
        self._writer = writer
        self._budget = budget
        self._seed = seed
        self._meter = Meter(budget, line.options)
        self._ending = Ending()
        self._counts = {"calls": 0, "answered": 0, "retries": 0}
        self._ids = {"endpoint": 0, "retokenised": 0, "none": 0}
        self._refusals = 0
        self._slots = asyncio.Semaphore(line.options.calls_at_once)
        self._handlers: set[asyncio.Task[object]] = set()
        self._retokenising: set[asyncio.Task[None]] = set()
        self._server = SocketServer(self._handle, line.options)

    def open(self, socket: Path) -> None:
        """Serve on a socket, from inside the event loop. Raises SocketPathError."""
        self._server.start(socket)

    async def close(self) -> DoorReport:
        """Cancel what is under way and finish the record."""
        await self._server.refuse()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.close()
        if self._retokenising:
            _, late = await asyncio.wait(self._retokenising, timeout=_RETOKENISE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.wrap_future(self._writer.close())
        self._check_writer()
        ended, detail = self._ending.result
        calls = ModelCalls(
            **self._counts,
            ids_from_endpoint=self._ids["endpoint"],
            ids_retokenised=self._ids["retokenised"],
            without_ids=self._ids["none"],
        )
        return DoorReport(usage=self._meter.usage, calls=calls, ended=ended, detail=detail)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        try:
            async with self._slots:
                response = await self._route(request)
                if response.status < 400:
                    self._refusals = 0
                else:
                    self._refusals += 1
                    await asyncio.sleep(self._penalty())
                return response
        finally:
            self._handlers.discard(handler)

    def _purpose(self, request: web.BaseRequest) -> str:
        purpose = request.headers.get(PURPOSE_HEADER, AGENT)
        return purpose if purpose in self._purposes else AGENT

    def _penalty(self) -> float:
        """Seconds before a refusal is sent: a client that asks on and on costs the others."""
        over = self._refusals - _FREE_REFUSALS
        return 0.0 if over <= 0 else min(0.05 * 2.0 ** min(over, 10), _LONGEST_PENALTY)

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        where = (request.method, request.path)
        if where == ("POST", "/v1/chat/completions"):
            return await self._chat(request)
        if where == ("GET", "/v1/models"):
            return await self._models()
        message = f"{request.method} {request.path[:200]} is not served here"
        return _refusal(bad_request(message, status=404, code="not_found"))

    async def _models(self) -> web.Response:
        try:
            card = await self._line.upstream.card()
        except (EndpointError, RejectedError) as failure:
            self._ending.failed(str(failure))
            return _refusal(_lost())
        return _json(orjson.dumps({"object": "list", "data": [card]}))

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        self._counts["calls"] += 1
        row = CallRow(self._counts["calls"], self._purpose(request), datetime.now(UTC))
        began = time.monotonic()
        response: web.StreamResponse
        try:
            response = await self._answer(request, row)
        except RefusedError as refusal:
            row.status, row.error = "refused", str(refusal)
            if isinstance(refusal, BudgetError) and row.purpose == AGENT:
                self._ending.refused(refusal.reason, str(refusal))
            response = _refusal(refusal)
            row.http_status = refusal.status
        except RejectedError as rejection:
            row.status, row.error = "rejected", str(rejection)
            if rejection.overflow:
                self._ending.overflowed(str(rejection))
            response = _json(rejection.body, rejection.status)
            row.http_status = rejection.status
        except EndpointError as failure:
            row.status, row.error = "failed", str(failure)
            self._ending.failed(str(failure))
            response = _refusal(_lost())
            row.http_status = 502
        except CutError as cut:
            row.status, row.error = "cut", str(cut)
            response = _break(request)
        except (ConnectionError, TimeoutError) as error:
            if row.status != "answered":
                row.error = f"the client does not read its answer: {type(error).__name__}"
            response = _break(request)
        except Exception as error:
            _log.exception("a call through the gateway failed")
            row.status, row.error = "failed", f"the gateway failed: {type(error).__name__}: {error}"
            self._ending.failed(row.error)
            response = _refusal(_lost())
            row.http_status = 502
        finally:
            row.seconds = time.monotonic() - began
            self._record(row)
        return response

    async def _answer(self, request: web.BaseRequest, row: CallRow) -> web.StreamResponse:
        self._check_writer()
        if self._ending.failure is not None:
            raise _lost()
        asked = await self._asked(request)
        row.streamed = bool(asked.get("stream"))
        limit = most_tokens(asked, self._line.endpoint.decoding.max_tokens)
        async with self._meter.admit(row.purpose, limit) as granted:
            self._fill_request(asked, row, granted)
            exchange = Exchange(self._line, row, self._budget.tool_calls_per_turn)
            try:
                response: web.StreamResponse
                if row.streamed:
                    options = asked.get("stream_options")
                    wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
                    response = await exchange.stream(request, wants_usage=wants_usage)
                else:
                    response = _json(await exchange.whole())
            except asyncio.CancelledError:
                if exchange.tries.failures and row.first_byte_seconds is None:
                    self._ending.interrupted(exchange.tries.failures[-1])
                raise
            finally:
                self._count(row, exchange)
            return response

    def _count(self, row: CallRow, exchange: Exchange) -> None:
        row.retries = exchange.tries.retries
        self._counts["retries"] += row.retries
        self._meter.count_tokens(row.prompt_tokens, row.cached_tokens, row.generated_tokens)
        if exchange.complete:
            row.status, row.http_status = "answered", 200
            row.turn = self._meter.count_answer(row.purpose, exchange.tool_calls)
            self._ending.answered()

    async def _asked(self, request: web.BaseRequest) -> Json:
        body = await read_body(request, self._line.options)
        if len(body) > _MOST_BRACKETS < body.count(b"[") + body.count(b"{"):
            raise bad_request("the body has too many lists and objects", status=413)
        try:
            return check(orjson.loads(body))
        except orjson.JSONDecodeError as error:
            raise bad_request(f"the body is not JSON: {error}") from None

    def _fill_request(self, asked: Json, row: CallRow, granted: int) -> None:
        endpoint, options = self._line.endpoint, self._line.options
        row.seed = call_seed(self._seed, self._meter.answer_number)
        row.max_tokens = granted
        row.temperature = endpoint.decoding.temperature
        row.top_p = endpoint.decoding.top_p
        sent = outgoing(asked, endpoint, options.extra_body, seed=row.seed, max_tokens=granted)
        row.overridden = overridden(asked, sent)
        try:
            row.request = orjson.dumps(sent)
        except TypeError as error:
            raise bad_request(f"the body cannot be passed on: {error}") from None

    def _record(self, row: CallRow) -> None:
        if row.status != "answered":
            self._writer.add(row)
            return
        self._counts["answered"] += 1
        if row.ids_from == "endpoint" or not self._line.extras.wanted:
            self._ids[row.ids_from] += 1
            self._writer.add(row)
            return
        task = asyncio.create_task(self._retokenise(row))
        self._retokenising.add(task)
        task.add_done_callback(self._retokenising.discard)

    async def _retokenise(self, row: CallRow) -> None:
        try:
            await self._retokeniser.fill(row)
        finally:
            self._ids[row.ids_from] += 1
            self._writer.add(row)

    def _check_writer(self) -> None:
        if self._writer.error is not None:
            self._ending.failed(f"the record of calls cannot be written: {self._writer.error}")


def _lost() -> RefusedError:
    """What the agent is told of an endpoint that failed."""
    return RefusedError(
        "the model endpoint failed for good; the attempt's record says how",
        status=502,
        kind="server_error",
        code="endpoint_failed",
    )


def _refusal(error: RefusedError) -> web.Response:
    said = {"message": str(error), "type": error.kind, "param": None, "code": error.code}
    return _json(orjson.dumps({"error": said}), error.status)


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def _break(request: web.BaseRequest) -> web.Response:
    """Cut the connection, after what was written to it."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()
