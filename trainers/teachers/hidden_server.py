"""`python -m trainers.teachers.hidden_server MODEL`: a frozen teacher for other processes.

Serves last hidden states, as safetensors bytes, to trainings on this machine (a Unix socket, or the
loopback interface), which project and compare them as they do their own.
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.engine.networks import Network
    from trainers.teachers.pi_rows import PIRow

_TOKENISER_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
_MAX_BODY_BYTES = 64 * 1024 * 1024


class _RefusedError(ValueError):
    """A request that cannot be served."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def create_app(network: "Network", adapters: Sequence[str] = ()) -> Starlette:
    """The application around a loaded network. adapters: the names of those it was loaded with.

    `GET /identity` says which model this is and has its tokeniser, `GET /head` is the output
    embedding, `POST /trajectory` are the states of one sequence as a training computes its own,
    `POST /rows` those of several sequences in one batch, each with its adapter. A request that
    names another model's digest is refused with status 409.
    """
    from trainers.teachers.hidden_format import (
        IDENTITY_HEADER,
        KIND,
        rows_from_bytes,
        tensors_to_bytes,
    )
    from trainers.teachers.pi_adapters import AdapterNetwork
    from trainers.teachers.pi_rows import BASE

    lock = Lock()
    adapted = AdapterNetwork(network)

    def compute(data: bytes, *, together: bool) -> bytes:
        try:
            rows = rows_from_bytes(data)
        except ValueError as error:
            raise _RefusedError(str(error)) from None
        for row in rows:
            unknown = set(row.adapter.split("+")) - {BASE, *adapters}
            if unknown:
                raise _RefusedError(
                    f"no adapter {min(unknown)!r} here: there are {', '.join(adapters) or 'none'}"
                )
            if len(row.ids) > network.longest or row.ids.max() >= network.embedded:
                raise _RefusedError(
                    f"{len(row.ids)} tokens with ids up to {row.ids.max()}, but {network.name} "
                    f"takes {network.longest} tokens of {network.embedded} ids"
                )
        with lock:
            if together:
                return tensors_to_bytes([read.hidden for read in adapted.read(rows)])
            return tensors_to_bytes([_alone(network, row) for row in rows])

    async def identity(_: Request) -> Response:
        folder = network.source.folder
        files = [folder / name for name in _TOKENISER_FILES]
        return JSONResponse(
            {
                "schema_version": 1,
                "name": network.name,
                "sha256": network.sha256,
                "tokenizer_sha256": network.tokenizer_sha256,
                "dtype": str(network.head.dtype).removeprefix("torch."),
                "embedded": network.embedded,
                "longest": network.longest,
                "adapters": list(adapters),
                "files": {
                    path.name: path.read_text(encoding="utf-8") for path in files if path.is_file()
                },
            }
        )

    async def head(request: Request) -> Response:
        _same_model(request)
        data = await run_in_threadpool(tensors_to_bytes, [network.head])
        return Response(data, media_type=KIND)

    async def states(request: Request) -> Response:
        _same_model(request)
        together = request.url.path == "/rows"
        data = await run_in_threadpool(compute, await _body(request), together=together)
        return Response(data, media_type=KIND)

    def _same_model(request: Request) -> None:
        wanted = request.headers.get(IDENTITY_HEADER, network.sha256)
        if wanted != network.sha256:
            raise _RefusedError(
                f"this is {network.name} with weights {network.sha256[:12]}…, not {wanted[:12]}…: "
                "serve the model that the training began with, or train into a new folder",
                status=409,
            )

    return Starlette(
        routes=[
            Route("/identity", identity),
            Route("/head", head),
            Route("/trajectory", states, methods=["POST"]),
            Route("/rows", states, methods=["POST"]),
        ],
        exception_handlers={_RefusedError: _refused},
    )


def _alone(network: "Network", row: "PIRow") -> "Tensor":
    """The states of one sequence, by the pass that `LocalTeacher` makes."""
    import torch

    with torch.no_grad():
        device = network.head.device
        ids = torch.from_numpy(row.ids).long().to(device)
        states = torch.from_numpy(row.states).to(device)
        hidden = network.hidden(ids[None], torch.arange(len(ids), device=device)[None])
        return hidden[states].to(network.head.dtype)


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY_BYTES:
            raise _RefusedError(f"the body is larger than {_MAX_BODY_BYTES} bytes", status=413)
    return body


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, _RefusedError)
    return JSONResponse({"error": {"message": str(error)}}, status_code=error.status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model, say what it is and where, and serve until told to stop; 2 when it cannot."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads its threads

    import torch
    import uvicorn

    from trainers.engine.errors import TrainingError
    from trainers.engine.networks import load_frozen, load_frozen_with
    from trainers.serving.shipped import ModelError

    try:
        adapters = dict(_named(text) for text in options.adapter)
        device = torch.device(options.device)
        if adapters:
            network = load_frozen_with(options.model, options.dtype, adapters, device)
        else:
            network = load_frozen(options.model, options.dtype, None, device)
        listener, place = _listen(options)
    except (ModelError, TrainingError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    app: Any = create_app(network, sorted(adapters))
    print(f"{network.name}  sha256 {network.sha256}\nserving on {place}", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_keep_alive=3600))
    server.run(sockets=[listener])
    return 0


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name.isidentifier() and equals and folder):
        raise ValueError(f"--adapter {text!r}: expected NAME=FOLDER")
    return name, Path(folder)


def _listen(options: argparse.Namespace) -> tuple[socket.socket, str]:
    if options.socket is not None:
        if options.socket.is_socket():  # left by a server that was killed
            options.socket.unlink()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(options.socket))
        options.socket.chmod(0o600)
        listener.listen(128)
        return listener, f"unix:{options.socket}"
    listener = socket.create_server((options.host, options.port), backlog=128)
    host, port = listener.getsockname()[:2]
    return listener, f"http://{host}:{port}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainers.teachers.hidden_server", description=__doc__
    )
    parser.add_argument("model", help="shipped name, folder or hub id")
    parser.add_argument(
        "--adapter", action="append", default=[], metavar="SOURCE=FOLDER", help="a PI adapter"
    )
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--device", default="cpu", help="such as cuda:1")
    parser.add_argument("--socket", type=Path, help="serve on this Unix socket")
    parser.add_argument("--host", default="127.0.0.1", help="whoever reaches it may ask")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (printed)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
