"""Streamed answers: server-sent events taken apart, and put together for the record."""

import asyncio
from contextlib import suppress
from typing import Any, Protocol

import orjson

from harness.gateway.answers import Tokens, check_shape, parse_answer
from harness.gateway.failures import PassingError
from harness.gateway.wire import Json

DONE = b"[DONE]"
_DRAIN_SECONDS = 0.2
_JOINED = ("content", "reasoning", "reasoning_content", "refusal")


class EventSplitter:
    """Splits bytes, however they are cut, into the data of server-sent events."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that end in this chunk."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        events = []
        for raw in lines:
            line = raw.rstrip(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        return events


def event(data: bytes) -> bytes:
    """Data as a server-sent event."""
    return b"data: " + data + b"\n\n"


class Assembler:
    """Puts the pieces of a stream together, and says what of each the agent gets."""

    def __init__(self, most_tool_calls: int, *, wants_usage: bool) -> None:
        self.tokens = Tokens()
        self.usage: object = None
        self.finish_reason: str | None = None
        self.stop_reason: str | int | None = None
        self._most = most_tool_calls
        self._wants_usage = wants_usage
        self._head: Json = {}
        self._message: Json = {"role": "assistant", "content": None}
        self._joined: dict[str, list[str]] = {}
        self._calls: dict[int, Json] = {}
        self._rank: dict[int, int] = {}
        self.began = False

    def add(self, data: bytes) -> bytes | None:
        """Take an event's data; gives the data for the agent, None for nothing.

        Raises PassingError when it is an error or no piece of an answer.
        """
        try:
            piece, prompt = parse_answer(data)
        except orjson.JSONDecodeError:
            raise PassingError(f"an event of the stream is no JSON: {data[:200]!r}") from None
        if isinstance(piece, dict) and piece.get("error"):
            raise PassingError(f"the stream broke off with an error: {data[:1000]!r}")
        check_shape(piece, "delta")
        if prompt:
            self.tokens.prompt = prompt
        self.tokens.take(piece)
        if piece.get("usage") is not None:
            self.usage = piece["usage"]
            if not self._wants_usage:
                del piece["usage"]
                if not piece["choices"]:
                    return None
        if not self._head:
            self._head = {key: piece.get(key) for key in ("id", "created", "model")}
        for choice in piece["choices"]:
            self.began = True
            self._merge(choice)
        return orjson.dumps(piece)

    @property
    def tool_calls(self) -> int:
        """Distinct tool calls so far."""
        return len(self._calls)

    def whole(self) -> Json:
        """The answer as one that was not streamed."""
        message = dict(self._message)
        for name, parts in self._joined.items():
            message[name] = "".join(parts)
        if self._calls:
            message["tool_calls"] = [_joined_call(call) for _, call in sorted(self._calls.items())]
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": self.usage,
        }

    def _merge(self, choice: Json) -> None:
        delta = choice["delta"]
        for name in _JOINED:
            if isinstance(text := delta.get(name), str):
                self._joined.setdefault(name, []).append(text)
        if isinstance(reason := choice.get("finish_reason"), str):
            self.finish_reason = reason
            self.stop_reason = choice.get("stop_reason")
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            delta["tool_calls"] = [call for call in calls if self._merge_call(call)]
            if calls and not delta["tool_calls"]:
                del delta["tool_calls"]

    def _merge_call(self, call: Any) -> bool:
        """Add a piece of a tool call; False when the agent is not to see it."""
        index = call.get("index") if isinstance(call, dict) else None
        if not isinstance(index, int):
            raise PassingError("a tool call in the stream has no index")
        self._rank.setdefault(index, len(self._rank))
        whole = self._calls.setdefault(index, {"type": "function", "name": [], "arguments": []})
        function = call.get("function")
        for name in ("name", "arguments"):
            if isinstance(function, dict) and isinstance(function.get(name), str):
                whole[name].append(function[name])
        if isinstance(call.get("id"), str):
            whole["id"] = call["id"]
        return self._rank[index] < self._most


def _joined_call(call: Json) -> Json:
    function = {name: "".join(call[name]) for name in ("name", "arguments")}
    return {"id": call.get("id"), "type": call["type"], "function": function}


class Source(Protocol):
    """Bytes of a streamed answer as they come; none at its end."""

    async def read(self) -> bytes:
        """More bytes. Raises PassingError."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class AnswerStream:
    """A streamed answer: bytes for the agent, piece by piece."""

    def __init__(self, source: Source, assembler: Assembler) -> None:
        self.assembler = assembler
        self._source = source
        self._splitter = EventSplitter()
        self.done = False

    async def begin(self) -> bytes:
        """The beginning, up to the answer's first piece. Raises PassingError without one."""
        beginning = b""
        while not self.assembler.began:
            if self.done:
                raise PassingError("the stream ended without an answer")
            beginning += await self.next()
        return beginning

    async def next(self) -> bytes:
        """More of it; nothing after the end. Raises PassingError when the stream broke."""
        while not self.done:
            chunk = await self._source.read()
            if chunk:
                out = self._take(chunk)
            else:
                if self.assembler.finish_reason is None:
                    raise PassingError("the stream ended before the answer did")
                self.done = True
                out = event(DONE)
            if out:
                return out
        return b""

    async def drain(self) -> None:
        """Read to the end of the connection's answer, so that it can be used again."""
        with suppress(PassingError, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await self._source.read():
                    pass

    def close(self) -> None:
        """Let go of the connection."""
        self._source.close()

    def _take(self, chunk: bytes) -> bytes:
        out = []
        for data in self._splitter.feed(chunk):
            if data == DONE:
                self.done = True
                out.append(event(DONE))
                break
            if (shown := self.assembler.add(data)) is not None:
                out.append(event(shown))
        return b"".join(out)
