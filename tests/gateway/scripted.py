"""A model endpoint that answers from a script, faults included, with token ids as vLLM gives them.

Its tokeniser is one to one with the text: an id is a character's code point plus 1,000.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from harness.agents.base import Decoding, Endpoint

Json = dict[str, Any]
Step = Callable[["Scripted", web.Request, Json], Awaitable[web.StreamResponse]]

KEY = "sk-the-upstream-key"
END = 1


def encode(text: str) -> list[int]:
    """Ids of a text."""
    return [ord(character) + 1000 for character in text]


def decode(ids: list[int]) -> str:
    """The text of ids; the end-of-turn token is left out."""
    return "".join(chr(number - 1000) for number in ids if number != END)


def rendered(messages: list[Json], tools: object = None) -> str:
    """The prompt as the endpoint's chat template makes it."""
    turns = "".join(f"<{m['role']}>{json.dumps(m, sort_keys=True)}</>" for m in messages)
    return f"{json.dumps(tools) if tools else ''}{turns}<assistant>"


class Scripted:
    """Answers the n-th chat request with the n-th step; the last one repeats."""

    def __init__(
        self,
        *steps: Step,
        ids: bool = True,
        usage: bool = True,
        tokenize: bool = False,
        rejects: tuple[str, ...] = (),
    ) -> None:
        self.steps = steps
        self.ids = ids
        self.usage = usage
        self.tokenize = tokenize
        self.rejects = rejects
        self.requests: list[Json] = []
        self.headers: list[Mapping[str, str]] = []
        self.abandoned = 0
        self.base_url = ""

    @property
    def endpoint(self) -> Endpoint:
        """How a gateway reaches it."""
        return Endpoint(
            base_url=self.base_url,
            model="scripted",
            api_key=SecretStr(KEY),
            decoding=Decoding(temperature=0.7, top_p=0.95, max_tokens=256),
        )

    @contextmanager
    def serve(self) -> Iterator["Scripted"]:
        """Serve on a loopback port, in another thread."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        async def start() -> web.AppRunner:
            app = web.Application(client_max_size=2**26)
            app.router.add_post("/v1/chat/completions", self._chat)
            app.router.add_get("/v1/models", self._models)
            app.router.add_post("/tokenize", self._tokenize)
            runner = web.AppRunner(
                app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
            )
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            return runner

        runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        for name in self.rejects:
            if name in body:
                return refusal(400, f"unknown parameter {name}")
        step = self.steps[min(len(self.requests), len(self.steps)) - 1]
        try:
            return await step(self, request, body)
        except asyncio.CancelledError:
            self.abandoned += 1
            raise

    async def _models(self, _: web.Request) -> web.Response:
        cards = [{"id": "other"}, {"id": "scripted", "object": "model", "max_model_len": 4096}]
        return web.json_response({"object": "list", "data": cards})

    async def _tokenize(self, request: web.Request) -> web.Response:
        if not self.tokenize:
            raise web.HTTPNotFound
        body = await request.json()
        if "prompt" in body:
            return web.json_response({"tokens": encode(body["prompt"])})
        text = rendered(body["messages"], body.get("tools"))
        if not body["add_generation_prompt"]:
            *earlier, last = body["messages"]
            text = rendered(earlier, body.get("tools")) + last["content"]
        return web.json_response({"tokens": encode(text)})


def say(text: str, **message: Any) -> Step:
    """An answer, streamed when asked for; `message` adds to it."""

    async def step(endpoint: Scripted, request: web.Request, body: Json) -> web.StreamResponse:
        return await answer(endpoint, request, body, {"content": text} | message)

    return step


def call_tools(*calls: tuple[str, str]) -> Step:
    """An answer with tool calls: names and arguments."""
    listed = [
        {"id": f"call-{number}", "type": "function", "function": {"name": n, "arguments": a}}
        for number, (n, a) in enumerate(calls)
    ]
    return say("", tool_calls=listed, finish_reason="tool_calls")


def fail(status: int, message: str = "scripted", **headers: str) -> Step:
    """An error; `headers` with underscores for hyphens."""

    async def step(*_: object) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return refusal(status, message, named)

    return step


def body(data: bytes, status: int = 200) -> Step:
    """An answer with any bytes."""

    async def step(*_: object) -> web.Response:
        return web.Response(body=data, status=status, content_type="application/json")

    return step


def hang(seconds: float = 60.0) -> Step:
    """No answer, for long."""

    async def step(*_: object) -> web.Response:
        await asyncio.sleep(seconds)
        return refusal(500, "too late")

    return step


def cut(text: str, after: int, *, hang_seconds: float = 0.0) -> Step:
    """A connection that breaks (or falls silent) after so many pieces of a streamed answer.

    Without streaming it breaks inside the body, or before any byte when `after` is 0.
    """

    async def step(endpoint: Scripted, request: web.Request, body: Json) -> web.StreamResponse:
        assert request.transport is not None
        if after:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            if body.get("stream"):
                pieces = _pieces(endpoint, body, {"content": text})
                for piece in pieces[:after]:
                    await response.write(b"data: " + json.dumps(piece).encode() + b"\n\n")
            else:
                await response.write(b'{"choices": [{"mess')
        await asyncio.sleep(hang_seconds)
        request.transport.close()
        return web.Response()

    return step


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error in OpenAI's shape."""
    return web.json_response(
        {"error": {"message": message, "code": status}}, status=status, headers=headers
    )


async def answer(
    endpoint: Scripted, request: web.Request, body: Json, message: Json
) -> web.StreamResponse:
    """A message as the endpoint sends it: whole or streamed, with ids when asked for them."""
    if body.get("stream"):
        pieces = _pieces(endpoint, body, message)
        return await stream(request, [json.dumps(piece) for piece in pieces] + ["[DONE]"])
    message = dict(message)
    finish = message.pop("finish_reason", "stop")
    text = message.get("content") or ""
    choice: Json = {
        "index": 0,
        "message": {"role": "assistant"} | message,
        "finish_reason": finish,
    }
    whole: Json = {"id": "c", "object": "chat.completion", "created": 1, "model": "scripted"}
    whole["choices"] = [choice]
    prompt, sampled = _ids(body, text)
    if endpoint.usage:
        whole["usage"] = _usage(prompt, sampled)
    if endpoint.ids and body.get("return_token_ids"):
        whole["prompt_token_ids"] = prompt
        choice["token_ids"] = sampled
    if body.get("logprobs"):
        choice["logprobs"] = _logprobs(sampled)
    return web.json_response(whole)


async def stream(request: web.Request, events: list[str]) -> web.StreamResponse:
    """Server-sent events, cut into awkward packets."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    data = b": ping\n\n" + b"".join(f"data: {e}\r\n\r\n".encode() for e in events)
    for start in range(0, len(data), 977):
        await response.write(data[start : start + 977])
    return response


def _pieces(endpoint: Scripted, body: Json, message: Json) -> list[Json]:
    text = message.get("content") or ""
    prompt, sampled = _ids(body, text)
    ids = endpoint.ids and body.get("return_token_ids")
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}

    def piece(delta: Json, tokens: list[int], finish: str | None = None) -> Json:
        choice: Json = {"index": 0, "delta": delta, "finish_reason": finish}
        if ids:
            choice["token_ids"] = tokens
        if body.get("logprobs") and tokens:
            choice["logprobs"] = _logprobs(tokens)
        return head | {"choices": [choice]}

    pieces = [piece({"role": "assistant", "content": ""}, [])]
    if ids:
        pieces[0]["prompt_token_ids"] = prompt
    pieces += [piece({"content": character}, encode(character)) for character in text]
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        opened = call | {"index": index, "function": function | {"arguments": ""}}
        pieces.append(piece({"tool_calls": [opened]}, []))
        for half in (function["arguments"][:3], function["arguments"][3:]):
            more = {"index": index, "function": {"arguments": half}}
            pieces.append(piece({"tool_calls": [more]}, []))
    pieces.append(piece({}, [END], message.get("finish_reason", "stop")))
    if (body.get("stream_options") or {}).get("include_usage") and endpoint.usage:
        pieces.append(head | {"choices": [], "usage": _usage(prompt, sampled)})
    return pieces


def _ids(body: Json, text: str) -> tuple[list[int], list[int]]:
    return encode(rendered(body["messages"], body.get("tools"))), [*encode(text), END]


def _usage(prompt: list[int], sampled: list[int]) -> Json:
    return {
        "prompt_tokens": len(prompt),
        "completion_tokens": len(sampled),
        "total_tokens": len(prompt) + len(sampled),
        "prompt_tokens_details": {"cached_tokens": len(prompt) // 2},
    }


def _logprobs(ids: list[int]) -> Json:
    return {"content": [{"token": "?", "logprob": -number / 1000} for number in ids]}
