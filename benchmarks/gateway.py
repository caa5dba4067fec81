"""What the gateway adds to a model call: attempts at once, direct and through it, side by side.

    python -m benchmarks.gateway

A scripted endpoint in a process of its own answers as vLLM does, with token ids and log-probs of
an 8K-token prompt and 256 sampled tokens. Clients in another process call it directly and through
one door each, in turns, so that both meet the same machine. `paced` answers after a second, as a
model would; `saturated` answers at once and shows the most calls in a second. On a machine that
others use too, three busy processes wait for its cores: `chrt --rr 1` before the command shows
what the gateway itself takes.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from harness.agents.base import Endpoint
from harness.gateway import Gateway
from harness.records import Budget

PROMPT_TOKENS, SAMPLED_TOKENS = 8_000, 256
ROUNDS = 3
Times = list[float]


def main() -> None:
    """Measure and print, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=200)
    parser.add_argument("--calls", type=int, default=5, help="of each attempt, in each round")
    parser.add_argument("--role", choices=("endpoint", "clients"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "endpoint":
        asyncio.run(_serve())
    elif options.role == "clients":
        asyncio.run(_call())
    else:
        print(json.dumps(_measure(options.attempts, options.calls), indent=1))


def _measure(attempts: int, calls: int) -> dict[str, Any]:
    role = [sys.executable, "-m", "benchmarks.gateway", "--role"]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([*role, "endpoint"], **pipes) as endpoint,
        subprocess.Popen([*role, "clients"], **pipes) as clients,
    ):
        assert endpoint.stdout is not None
        assert clients.stdin is not None
        assert clients.stdout is not None
        to_clients, from_clients = clients.stdin, clients.stdout
        url = endpoint.stdout.readline().strip()
        with Gateway(Endpoint(base_url=url, model="bench")) as gateway:
            doors = [
                gateway.open(budget=Budget(turns=10**6), seed=n, calls=Path(folder, f"{n}.parquet"))
                for n in range(attempts)
            ]
            sockets = [str(door.endpoint.socket) for door in doors]

            def run(ways: Sequence[str | None], delay: float, stream: bool, number: int) -> Times:
                order = {"url": url, "ways": ways, "delay": delay, "calls": number}
                to_clients.write(json.dumps(order | {"stream": stream}) + "\n")
                to_clients.flush()
                times: Times = json.loads(from_clients.readline())
                return times

            result: dict[str, Any] = {"attempts": attempts}
            direct: list[str | None] = [None] * attempts
            run(sockets, 0, False, 1)
            for name, stream in (("whole", False), ("streamed", True)):
                result[f"paced, {name}"] = _paced(run, direct, sockets, calls, stream)
            result["saturated, whole"] = _saturated(run, direct, sockets, calls)
            result["retries"] = sum(door.close().calls.retries for door in doors)
        to_clients.close()
        endpoint.terminate()
    return result


def _paced(
    run: Any, direct: Sequence[str | None], sockets: list[str], calls: int, stream: bool
) -> dict[str, Any]:
    """Added milliseconds with a second's answer; CPU of the gateway for one call."""
    times: dict[str, Times] = {"direct": [], "gateway": []}
    cpu = 0.0
    for _ in range(ROUNDS):
        times["direct"] += run(direct, 1.0, stream, calls)
        before = time.process_time()
        times["gateway"] += run(sockets, 1.0, stream, calls)
        cpu += time.process_time() - before
    percentiles = {way: _percentiles(measured) for way, measured in times.items()}
    pairs = zip(percentiles["direct"], percentiles["gateway"], strict=True)
    names = ("p50", "p90", "p99")
    means = {way: statistics.fmean(measured) for way, measured in times.items()}
    return {
        "added_ms": {
            "mean": round(1000 * (means["gateway"] - means["direct"]), 2),
            **{n: round(1000 * (b - a), 2) for n, (a, b) in zip(names, pairs, strict=True)},
        },
        "gateway_cpu_ms_a_call": round(1000 * cpu / len(times["gateway"]), 2),
    }


def _saturated(
    run: Any, direct: Sequence[str | None], sockets: list[str], calls: int
) -> dict[str, Any]:
    """Calls in a second when the endpoint answers at once."""
    rates: dict[str, list[float]] = {"direct": [], "gateway": []}
    for _ in range(ROUNDS):
        for way, through in (("direct", direct), ("gateway", sockets)):
            began = time.monotonic()
            done = len(run(through, 0, False, calls))
            rates[way].append(done / (time.monotonic() - began))
    return {f"calls_a_second_{way}": round(max(values)) for way, values in rates.items()}


def _percentiles(times: Times) -> list[float]:
    cuts = statistics.quantiles(times, n=100)
    return [cuts[49], cuts[89], cuts[98]]


async def _call() -> None:
    """The clients' process: each line of input is an order, each line of output its times."""
    loop = asyncio.get_running_loop()
    text = " ".join(f"word{n}" for n in range(PROMPT_TOKENS // 2))
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        system = {"role": "system", "name": str(order["delay"]), "content": text[:16_000]}
        messages = [system, {"role": "user", "content": text}]
        body = {"messages": messages, "model": "bench", "stream": order["stream"]}
        if order["ways"][0] is None:  # what the gateway would ask for
            body |= {"return_token_ids": True, "logprobs": True, "max_tokens": 2048}
        data = orjson.dumps(body)
        clients = [_attempt(order, way, data) for way in order["ways"]]
        times = [t for measured in await asyncio.gather(*clients) for t in measured]
        print(json.dumps(times), flush=True)


async def _attempt(order: dict[str, Any], way: str | None, data: bytes) -> Times:
    connector = aiohttp.UnixConnector(way) if way else aiohttp.TCPConnector()
    base = "http://gateway/v1" if way else order["url"]
    times = []
    headers = {"Content-Type": "application/json"}
    await asyncio.sleep(random.uniform(0, order["delay"]))
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        for _ in range(order["calls"]):
            began = time.perf_counter()
            async with session.post(f"{base}/chat/completions", data=data) as response:
                await response.read()
                assert response.status == 200, await response.text()
            times.append(time.perf_counter() - began)
    return times


async def _serve() -> None:
    """The endpoint's process."""
    prompt = [random.randrange(150_000) for _ in range(PROMPT_TOKENS)]
    sampled = [random.randrange(150_000) for _ in range(SAMPLED_TOKENS)]
    entry = {"token": " token", "bytes": list(b" token"), "logprob": -0.123456, "top_logprobs": []}
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": SAMPLED_TOKENS}
    head = {"id": "chatcmpl-1", "created": 1, "model": "bench"}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": " token" * SAMPLED_TOKENS},
        "logprobs": {"content": [entry] * SAMPLED_TOKENS},
        "finish_reason": "stop",
        "token_ids": sampled,
    }
    whole = orjson.dumps(head | {"choices": [choice], "usage": usage, "prompt_token_ids": prompt})
    first = {"index": 0, "delta": {"role": "assistant", "content": ""}}
    pieces = [head | {"choices": [first], "prompt_token_ids": prompt}]
    for number, token in enumerate(sampled, start=1):
        finish = "stop" if number == SAMPLED_TOKENS else None
        piece = {"index": 0, "delta": {"content": " token"}, "token_ids": [token]}
        piece |= {"logprobs": {"content": [entry]}, "finish_reason": finish}
        pieces.append(head | {"choices": [piece]})
    pieces.append(head | {"choices": [], "usage": usage})
    events = [b"data: " + orjson.dumps(piece) + b"\n\n" for piece in pieces]
    events.append(b"data: [DONE]\n\n")

    async def chat(request: web.BaseRequest) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        delay = float(asked["messages"][0]["name"])
        if not asked["stream"]:
            await asyncio.sleep(delay)
            return web.Response(body=whole, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for start in range(0, len(events), 16):
            await response.write(b"".join(events[start : start + 16]))
            await asyncio.sleep(delay * 16 / len(events))
        return response

    server = web.Server(chat, access_log=None)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(server, "127.0.0.1", 0, backlog=2048)
    print(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    main()
