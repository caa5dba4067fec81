"""Clients of a door, as agents are."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from harness.gateway import CallRow, Door, DoorReport, Gateway, GatewayOptions, read_calls
from harness.records import Budget
from tests.gateway.scripted import Json, Scripted, Step

QUICK = GatewayOptions(first_pause_seconds=0.01, longest_pause_seconds=0.05, probe_seconds=0.02)
HELLO = [{"role": "user", "content": "hello"}]


def client(door: Door) -> httpx.Client:
    """An HTTP client that reaches the door's socket."""
    transport = httpx.HTTPTransport(uds=str(door.folder / "gateway.sock"), verify=False)
    return httpx.Client(transport=transport, base_url=door.endpoint.base_url, timeout=60)


def ask(http: httpx.Client, messages: Sequence[Json] = HELLO, **more: Any) -> httpx.Response:
    """One chat call."""
    return http.post("chat/completions", json={"messages": list(messages)} | more)


def events(response: httpx.Response) -> list[Any]:
    """The data of a streamed answer's events, parsed; `[DONE]` as text."""
    lines = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def streamed_text(response: httpx.Response) -> str:
    """The content of a streamed answer."""
    choices = [c for e in events(response) if e != "[DONE]" for c in e["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


class Attempt:
    """One door of a gateway before a scripted endpoint, and what it left behind."""

    def __init__(self, door: Door, calls: Path, upstream: Scripted) -> None:
        self.door = door
        self.upstream = upstream
        self.http = client(door)
        self._calls = calls

    def ask(self, messages: Sequence[Json] = HELLO, **more: Any) -> httpx.Response:
        """One chat call."""
        return ask(self.http, messages, **more)

    def ask_within(self, seconds: float) -> httpx.Response:
        """One chat call of an impatient client."""
        return self.http.post("chat/completions", json={"messages": HELLO}, timeout=seconds)

    def end(self) -> tuple[DoorReport, list[CallRow]]:
        """Close the door; its report and its rows."""
        self.http.close()
        return self.door.close(), list(read_calls(self._calls))


@contextmanager
def attempt(
    folder: Path,
    *steps: Step,
    options: GatewayOptions = QUICK,
    budget: Budget | None = None,
    seed: int = 7,
    purposes: frozenset[str] = frozenset(),
    **upstream: Any,
) -> Iterator[Attempt]:
    """A scripted endpoint, a gateway before it and one door."""
    calls = folder / "calls.parquet"
    with (
        Scripted(*steps, **upstream).serve() as scripted,
        Gateway(scripted.endpoint, options) as gateway,
        gateway.open(budget=budget or Budget(), seed=seed, calls=calls, purposes=purposes) as door,
    ):
        yield Attempt(door, calls, scripted)
