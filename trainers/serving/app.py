"""The HTTP interface of an embedded model: `/health`, `/v1/models`, `/v1/chat/completions` and
`/v1/completions`, with the answers and the errors that OpenAI and vLLM give.

Log-probabilities are those of the model at temperature 1 with nothing cut off, as vLLM's are; for
an answer that has to be one of some choices they are still over the whole vocabulary.
Token ids in answers include the end-of-turn token; the text does not.
"""

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from trainers.serving.answers import ChatAnswer, CompletionAnswer
from trainers.serving.protocol import ChatRequest, CompletionRequest, RequestError, parse_request
from trainers.serving.service import EngineError, Piece, Service

MAX_BODY_BYTES = 16 * 1024 * 1024


def create_app(service: Service) -> Starlette:
    """The application around a loaded model."""

    async def health(_: Request) -> Response:
        return Response(status_code=200 if service.alive else 503)

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [service.card()]})

    async def chat(request: Request) -> Response:
        asked = parse_request(ChatRequest, await _body(request))
        prompt = service.chat_prompt(asked.messages)
        return await _respond(request, service, asked, prompt, ChatAnswer(service, asked, prompt))

    async def completion(request: Request) -> Response:
        asked = parse_request(CompletionRequest, await _body(request))
        prompt = service.text_prompt(asked.prompt)
        answer = CompletionAnswer(service, asked, prompt)
        return await _respond(request, service, asked, prompt, answer)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/completions", completion, methods=["POST"]),
        ],
        exception_handlers={RequestError: _refused, HTTPException: _http_error},
    )


async def _respond(
    request: Request,
    service: Service,
    asked: ChatRequest | CompletionRequest,
    prompt: list[int],
    answer: ChatAnswer | CompletionAnswer,
) -> Response:
    if asked.model not in (None, service.name):
        raise RequestError(
            f"The model {asked.model!r} does not exist; this server has {service.name!r}.",
            param="model",
            code="model_not_found",
            status=404,
        )
    service.token_limit(asked, prompt)
    pieces = service.generate(asked, prompt, service.choices(asked.choices))
    if asked.stream:
        events = _stream(pieces, answer, include_usage=asked.include_usage)
        return StreamingResponse(events, media_type="text/event-stream")
    collecting = asyncio.create_task(_collect(pieces))
    leaving = asyncio.create_task(_client_left(request))
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not collecting.done():
            return Response(status_code=499)
        return JSONResponse(answer.whole(collecting.result()))
    except EngineError as error:
        return _error(str(error), status=500)
    finally:
        collecting.cancel()
        leaving.cancel()


async def _collect(pieces: AsyncIterator[Piece]) -> list[Piece]:
    return [piece async for piece in pieces]


async def _client_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(
    pieces: AsyncIterator[Piece], answer: ChatAnswer | CompletionAnswer, *, include_usage: bool
) -> AsyncIterator[str]:
    count = 0
    try:
        async for piece in pieces:
            count += 1
            yield _event(answer.chunk(piece))
        if include_usage:
            yield _event(answer.usage_chunk(count))
    except EngineError as error:
        yield _event(_error_body(str(error), status=500))
    yield "data: [DONE]\n\n"


def _event(data: object) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(f"the body is larger than {MAX_BODY_BYTES} bytes", status=413)
    return body


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _error(str(error), status=error.status, param=error.param, code=error.code)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.detail, status=error.status_code)


def _error(
    message: str, *, status: int, param: str | None = None, code: str | None = None
) -> Response:
    body = _error_body(message, status=status, param=param, code=code)
    return JSONResponse(body, status_code=status)


def _error_body(
    message: str, *, status: int, param: str | None = None, code: str | None = None
) -> dict[str, object]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code or status}
    return {"error": error}
