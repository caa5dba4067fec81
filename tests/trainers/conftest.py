"""Servers of a tiny random model."""

import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import uvicorn
from transformers import LlamaConfig, LlamaForCausalLM

from tests.trainers.tiny import Serve, byte_tokenizer, tiny_config
from trainers.serving.app import create_app
from trainers.serving.load import load_service
from trainers.serving.models import resolve_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as the hub has them."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**tiny_config())).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model for tests\n")
    return folder


@pytest.fixture(scope="session")
def serve(serve_folder: Serve, tiny_folder: Path) -> Serve:
    """Start a server of the tiny model in this process; returns a client."""
    return partial(serve_folder, tiny_folder)


@pytest.fixture(scope="session")
def serve_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start a server of a model folder in this process; returns a client."""
    servers: list[tuple[uvicorn.Server, threading.Thread, httpx.Client]] = []

    def start(folder: Path, **options: Any) -> httpx.Client:
        model = resolve_model(str(folder), tmp_path_factory.mktemp("cache"))
        settings = {
            "served_name": None,
            "dtype": "float32",
            "threads": 1,
            "max_model_len": None,
            "prefix_cache_bytes": 2**24,
        }
        service = load_service(model, **(settings | options))
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        client = httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60)
        servers.append((server, thread, client))
        return client

    yield start
    for server, thread, client in servers:
        client.close()
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def client(serve: Serve) -> httpx.Client:
    """A client of a server of the tiny model."""
    return serve()
