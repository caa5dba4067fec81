"""A small model served on this machine for the time of a run."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import httpx

from harness.agents.base import Endpoint, EndpointFailure
from harness.records import Record

START_SECONDS = 900.0  # the first start downloads and converts the model
_STOP_SECONDS = 10.0


class ModelFacts(Record):
    """What an embedded model is, for the lock and the report."""

    name: str
    title: str
    source: str
    licence: str
    artefact_sha256: str | None
    weights_sha256: str
    tokenizer_sha256: str
    dtype: str
    threads: int
    max_model_len: int
    runtime: str
    adapter: str | None = None
    adapter_sha256: str | None = None

    @property
    def note(self) -> str:
        """One sentence for a report."""
        return (
            f"{self.title} from {self.source}, {self.dtype} on the CPU, "
            f"SHA-256 of the weights {self.weights_sha256}"
            + (f", with the adapter {self.adapter_sha256}" if self.adapter_sha256 else "")
        )


class EmbeddedModel(NamedTuple):
    """A running server and the facts about its model."""

    endpoint: Endpoint
    facts: ModelFacts


@contextmanager
def embedded_endpoint(
    model: str,
    *,
    log: Path,
    adapter: Path | None = None,
    start_seconds: float = START_SECONDS,
    threads: int | None = None,
    max_model_len: int | None = None,
) -> Iterator[EmbeddedModel]:
    """Serve a model (shipped name, folder or hub id) on a loopback port while the block runs.

    adapter: folder of a LoRA adapter of it, merged into it.

    The server writes to `log` and ends with this process, however this process ends. Raises
    EndpointFailure when it does not get ready within `start_seconds`.
    """
    missing = [name for name in ("torch", "transformers", "uvicorn") if find_spec(name) is None]
    if missing:
        raise EndpointFailure(
            f"an embedded model needs {', '.join(missing)}: pip install 'swe-harness[embedded]'"
        )
    options = ["--model", model, "--exit-with-stdin"]
    if adapter is not None:
        options += ["--adapter", str(adapter)]
    if threads is not None:
        options += ["--threads", str(threads)]
    if max_model_len is not None:
        options += ["--max-model-len", str(max_model_len)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "trainers.serving", "--fd", str(listener.fileno()), *options],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the harness, which then ends the server
        )
    # Only the server holds the socket now: calls wait in it until it is ready, and fail at once
    # when it dies.
    try:
        base_url = f"http://127.0.0.1:{port}/v1"
        facts = _facts(base_url, start_seconds, log)
        yield EmbeddedModel(Endpoint(base_url=base_url, model=facts.name), facts)
    finally:
        _stop(server)


def _facts(base_url: str, seconds: float, log: Path) -> ModelFacts:
    try:
        card = httpx.get(f"{base_url}/models", timeout=seconds).raise_for_status().json()
    except httpx.HTTPError as error:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
        raise EndpointFailure(
            f"the embedded model did not start ({type(error).__name__}); {log} ends in:\n{tail}"
        ) from None
    return ModelFacts.model_validate(card["data"][0]["facts"])


def _stop(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
