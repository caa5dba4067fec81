"""The circuit breaker."""

import asyncio
import time
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web

from harness.gateway.breaker import Breaker
from harness.gateway.failures import EndpointError
from harness.gateway.options import GatewayOptions
from harness.records import StopReason
from tests.gateway.clients import QUICK, attempt
from tests.gateway.scripted import Json, Scripted, answer, refusal

OPTIONS = GatewayOptions(breaker_failures=3, probe_seconds=0.05, outage_seconds=1)


async def _opened() -> Breaker:
    breaker = Breaker(OPTIONS)
    for _ in range(3):
        assert not breaker.open
        breaker.failed()
    assert breaker.open
    return breaker


def test_success_starts_the_count_anew() -> None:
    async def run() -> None:
        breaker = Breaker(OPTIONS)
        for _ in range(5):
            breaker.failed()
            breaker.failed()
            breaker.succeeded()
        assert not breaker.open
        assert not await breaker.admit()

    asyncio.run(run())


def test_one_call_probes_while_the_others_wait() -> None:
    async def run() -> None:
        breaker = await _opened()
        calls = [asyncio.create_task(breaker.admit()) for _ in range(20)]
        done, waiting = await asyncio.wait(calls, timeout=0.3)
        assert [task.result() for task in done] == [True]
        assert len(waiting) == 19
        breaker.succeeded()
        breaker.probed()
        assert not any(await asyncio.gather(*waiting))
        assert not await breaker.admit()

    asyncio.run(run())


def test_a_probe_that_fails_is_followed_by_another_call_s_later() -> None:
    async def run() -> None:
        breaker = await _opened()
        first, second = (asyncio.create_task(breaker.admit()) for _ in range(2))
        assert await first
        breaker.failed(probe=True)
        breaker.probed()
        began = time.monotonic()
        assert await second
        assert time.monotonic() - began >= 0.09

    asyncio.run(run())


def test_a_call_that_is_cancelled_while_it_waits_blocks_nobody() -> None:
    async def run() -> None:
        breaker = await _opened()
        first, second = (asyncio.create_task(breaker.admit()) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        assert await second

    asyncio.run(run())


def test_calls_do_not_wait_for_ever() -> None:
    async def run() -> None:
        breaker = await _opened()
        assert await breaker.admit()
        began = time.monotonic()
        with pytest.raises(EndpointError, match="every request has failed"):
            await breaker.admit()
        assert 0.5 < time.monotonic() - began < 3

    asyncio.run(run())


def test_an_endpoint_that_restarts_loses_no_attempt(tmp_path: Path) -> None:
    """Down for a while, it sees probes and no storm; then everything is answered."""
    seen: list[float] = []

    async def step(endpoint: Scripted, request: web.Request, body: Json) -> web.StreamResponse:
        seen.append(time.monotonic())
        if len(seen) <= 5:
            return refusal(503, "starting")
        return await answer(endpoint, request, body, {"content": "up"})

    options = QUICK.model_copy(update={"breaker_failures": 3, "tries": 20, "probe_seconds": 0.2})
    with attempt(tmp_path, step, options=options) as one:
        assert [one.ask().status_code, one.ask().status_code] == [200, 200]
        report, rows = one.end()
    assert [row.retries for row in rows] == [5, 0]
    pauses = [later - earlier for earlier, later in pairwise(seen[2:6])]
    assert all(pause >= 0.19 * 2**n for n, pause in enumerate(pauses))
    assert report.ended is None


def test_an_outage_ends_the_attempt(tmp_path: Path) -> None:
    async def step(*_: object) -> web.Response:
        return refusal(503, "down")

    options = QUICK.model_copy(update={"breaker_failures": 1, "tries": 4})
    with attempt(tmp_path, step, options=options) as one:
        assert one.ask().status_code == 502
        report, _ = one.end()
    assert report.ended is StopReason.INFRASTRUCTURE
