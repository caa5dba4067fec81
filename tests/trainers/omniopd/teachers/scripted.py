"""A chat endpoint of many kinds, whose model knows one sentence and counts characters."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.trainers.teachers.vllm_counterpart import serving
from trainers.omniopd.settings import EndpointSettings
from trainers.omniopd.teachers.bounds import TokenBound
from trainers.omniopd.teachers.endpoint import EndpointTeacher
from trainers.omniopd.texts import Answer, Ask, Message

Json = dict[str, Any]

SENTENCE = "The quick brown fox jumps over the lazy dog."
QUESTION = Message(role="user", content="go on")
TURN = 10  # characters that a template has around a message


def ask(text: str, *messages: Message, characters: int = 40, tokens: int = 8) -> Ask:
    """Of a chat, unless it has other messages."""
    return Ask(messages or (QUESTION,), text, characters, tokens)


def one(teacher: EndpointTeacher, text: str, count: int = 2, seed: int = 0, **more: Any) -> Answer:
    """Continuations of a text."""
    [(number, found)] = teacher.continuations([ask(text, **more)], count, seed)
    assert number == 0
    return found


def rest(text: str) -> str:
    """What the model writes behind a text: the sentence, or the text's last word once more."""
    if SENTENCE.startswith(text):
        return SENTENCE[len(text) :]
    return f" after {text.split()[-1] if text.split() else 'nothing'}"


@dataclass
class Scripted:
    """flags: takes vLLM's continue_final_message. trailing: what it makes of a last assistant
    message without it. several: what it makes of `n`. refuses: parameters that it does not know.
    trouble: statuses, messages and codes of the next answers. raw: bytes instead of an answer.
    """

    flags: bool = False
    trailing: Literal["continues", "anew", "refused"] = "anew"
    space: bool = True
    several: Literal["yes", "ignored", "refused"] = "yes"
    refuses: tuple[str, ...] = ()
    usage: bool = True
    trouble: list[Any] = field(default_factory=list)
    raw: bytes | None = None
    silent: bool = False
    mumbles: bool = False
    latency: float = 0.0
    root: str = "/models/one"
    answers_as: str = "one"
    asked: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0
    url: str = ""

    @contextmanager
    def serve(self) -> Iterator["Scripted"]:
        """On a loopback port."""
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._complete, methods=["POST"]),
        ]
        with serving(Starlette(routes=routes)) as address:
            self.url = f"{address}/v1"
            yield self

    def settings(self, **changes: Any) -> EndpointSettings:
        """That name it."""
        values = {"kind": "endpoint", "endpoint": self.url, "model": "one", "attempts": 3}
        return EndpointSettings.model_validate(values | changes)

    def teacher(self, folder: Path, **changes: Any) -> EndpointTeacher:
        """One that asks it."""
        return EndpointTeacher(self.settings(**changes), folder, TokenBound(), pause_s=0.001)

    @property
    def last(self) -> Json:
        """The last request."""
        return self.asked[-1]

    async def _models(self, _: Request) -> Response:
        card = {"id": "one", "root": self.root, "max_model_len": 4096}
        return JSONResponse({"object": "list", "data": [{"id": "other"}, card]})

    async def _chat(self, request: Request) -> Response:
        return await self._answer(request, chat=True)

    async def _complete(self, request: Request) -> Response:
        return await self._answer(request, chat=False)

    async def _answer(self, request: Request, *, chat: bool) -> Response:
        body = json.loads(await request.body())
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        await asyncio.sleep(self.latency)
        self.busy -= 1
        if self.trouble:
            status, message, *code = self.trouble.pop(0)
            return _refusal(status, message, code=code[0] if code else None)
        if self.raw is not None:
            return Response(self.raw, media_type="application/json")
        for name in self.refuses:
            if name in body:
                return _refusal(400, f"n, seed are known, not {name}", param=name)
        count = body.get("n", 1)
        if count > 1 and self.several == "refused":
            return _refusal(400, "this model gives one choice alone")
        count = 1 if self.several == "ignored" else count
        before, tokens = body.get("prompt"), len(body.get("prompt", ""))
        if chat:
            problem = self._problem(body)
            if problem:
                return _refusal(400, problem)
            before, tokens = self._before(body)
        text = None if self.silent else (SENTENCE if before is None else rest(before))
        text = "hm" if self.mumbles else text
        choices: list[Json] = [{"index": i, "finish_reason": "length"} for i in range(count)]
        for choice in reversed(choices):
            choice.update({"message": {"content": text}} if chat else {"text": text or ""})
        answer: Json = {"model": self.answers_as, "choices": choices[::-1]}
        if self.usage:
            answer["usage"] = {"prompt_tokens": tokens, "completion_tokens": 3 * count}
            answer["usage"]["prompt_tokens_details"] = {"cached_tokens": tokens // 2}
        return JSONResponse(answer)

    def _problem(self, body: Json) -> str | None:
        last = body["messages"][-1]
        if body.get("continue_final_message") and not self.flags:
            return "unknown field continue_final_message"
        if last["role"] != "assistant":
            return None
        if self.trailing == "refused" and not body.get("continue_final_message"):
            return "the last message must be from the user"
        if not self.space and last["content"] != last["content"].rstrip():
            return "final assistant content cannot end with trailing whitespace"
        return None

    def _before(self, body: Json) -> tuple[str | None, int]:
        messages = body["messages"]
        tokens = sum(len(each["content"]) + TURN for each in messages)
        if messages[-1]["role"] == "assistant":
            if body.get("continue_final_message") or self.trailing == "continues":
                return messages[-1]["content"], tokens
            return None, tokens + TURN
        return (None if len(messages) < 2 else ""), tokens + TURN


def _refusal(status: int, message: str, **more: str | None) -> Response:
    return JSONResponse({"error": {"message": message, **more}}, status_code=status)
