"""A stand-in for vLLM: its wire format around a tiny real model with adapters.

It is no vLLM: a recording of a real one is beside it, and the tests compare the two's forms. What
it answers is computed by the model, so that it can be compared with teachers on this machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.trainers.tiny import wait_until
from trainers.engine.networks import load_frozen_with
from trainers.teachers.pi_adapters import AdapterNetwork
from trainers.teachers.pi_rows import BASE

NAME = "tiny"


class Counterpart:
    """Serves a base as `tiny`, an adapter as `pi-SOURCE`. asked: the bodies of all completions.

    trouble: statuses that the next completions are answered with instead.
    """

    def __init__(self, base: Path, adapters: dict[str, Path], *, max_logprobs: int = -1) -> None:
        self.network = load_frozen_with(str(base), "float32", adapters, torch.device("cpu"))
        self.adapters = [f"pi-{source}" for source in adapters]
        self.max_logprobs = max_logprobs
        self.asked: list[dict[str, Any]] = []
        self.trouble: list[int] = []
        self.parent = NAME
        routes = [
            Route("/v1/models", self._models),
            Route("/tokenize", self._tokenize, methods=["POST"]),
            Route("/v1/completions", self._complete, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes)

    async def _models(self, _: Request) -> JSONResponse:
        base: dict[str, Any] = {
            "id": NAME,
            "object": "model",
            "root": "/models/tiny",
            "parent": None,
        }
        cards = [base | {"max_model_len": self.network.longest}]
        for name in self.adapters:
            cards.append(base | {"id": name, "parent": self.parent, "max_model_len": None})
        return JSONResponse({"object": "list", "data": cards})

    async def _tokenize(self, request: Request) -> JSONResponse:
        text = (await request.json())["prompt"]
        ids = self.network.tokenizer(text, add_special_tokens=False)["input_ids"]
        return JSONResponse({"count": len(ids), "max_model_len": 512, "tokens": ids})

    async def _complete(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        if self.trouble:
            return _error("made up", self.trouble.pop(0))
        if body["model"] not in (NAME, *self.adapters):
            return _error(f"The model `{body['model']}` does not exist.", 404)
        vocabulary = self.network.embedded
        limit = vocabulary if self.max_logprobs == -1 else self.max_logprobs
        wanted = body.get("prompt_logprobs")
        wanted = vocabulary if wanted == -1 else wanted
        if wanted is not None and wanted > limit:
            return _error(
                f"Requested prompt logprobs of {wanted}, greater than max allowed: {limit}", 400
            )
        choices = [self._choice(body, index, wanted) for index in range(body.get("n", 1))]
        return JSONResponse({"object": "text_completion", "model": NAME, "choices": choices})

    def _choice(self, body: dict[str, Any], index: int, wanted: int | None) -> dict[str, Any]:
        ids = list(body["prompt"])
        entries = None
        if wanted is not None:
            log_probs = self._log_probs(body["model"], ids)
            pairs = zip(ids[1:], log_probs, strict=False)
            entries = [None, *(_entry(token, row, wanted) for token, row in pairs)]
        generator = torch.Generator().manual_seed(body.get("seed", 0) + index)
        sampled: list[int] = []
        while len(sampled) < body["max_tokens"]:
            probabilities = self._log_probs(body["model"], ids + sampled)[-1].exp()
            sampled.append(int(torch.multinomial(probabilities, 1, generator=generator)))
            if sampled[-1] in body.get("stop_token_ids", []):
                break
        return {
            "index": index,
            "text": "",
            "token_ids": sampled if body.get("return_token_ids") else None,
            "prompt_logprobs": entries,
            "prompt_token_ids": ids if body.get("return_token_ids") else None,
        }

    @torch.no_grad()
    def _log_probs(self, name: str, ids: list[int]) -> torch.Tensor:
        network = self.network
        with AdapterNetwork(network).adapters([BASE if name == NAME else name.removeprefix("pi-")]):
            hidden = network.hidden(torch.tensor([ids]), torch.arange(len(ids))[None])
        return (hidden @ network.head.T).log_softmax(-1)


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """An application on the loopback interface; its address."""
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def _entry(token: int, row: torch.Tensor, wanted: int) -> dict[str, Any]:
    """The token itself first, then the likeliest."""
    order = row.argsort(descending=True)
    ids = [token, *order[:wanted].tolist()]
    rank = {int(one): place for place, one in enumerate(order.tolist(), 1)}
    return {
        str(one): {"logprob": float(row[one]), "rank": rank[one], "decoded_token": "?"}
        for one in ids
    }


def _error(message: str, status: int) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "code": status}}, status_code=status)
