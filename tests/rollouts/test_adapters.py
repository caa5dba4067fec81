"""An endpoint that loads an adapter for a run: what it is asked, and what its answers mean."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.agents.base import Decoding
from harness.config import ConfigError, ModelConfig
from harness.rollouts.models import serve_model


class Server(HTTPServer):
    """Answers as vLLM does; `answer` is that to a request to load."""

    answer: tuple[int, str] = (200, "Success: LoRA adapter 'x' added successfully.")
    served: tuple[str, ...] = ("Qwen/Qwen3-4B",)
    asked: list[dict[str, Any]]
    keys: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._send(200, json.dumps({"data": [{"id": name} for name in self.server.served]}))

    def do_POST(self) -> None:
        assert self.path == "/v1/load_lora_adapter"
        self.server.keys.append(self.headers.get("Authorization"))
        length = int(self.headers["Content-Length"])
        self.server.asked.append(json.loads(self.rfile.read(length)))
        self._send(*self.server.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _send(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        found.asked, found.keys = [], []
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "opd-0" / "final"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def served(server: Server, adapter: Path, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    model = ModelConfig(kind="endpoint", name="Qwen/Qwen3-4B", adapter=adapter, base_url=url)
    with serve_model(model, Decoding(), tmp_path, ()) as found:
        return found.endpoint.model, found.facts


def test_the_adapter_is_loaded_under_a_name_of_its_content(
    server: Server, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_API_KEY", "k")
    name, facts = served(server, adapter, tmp_path)
    assert server.asked == [{"lora_name": name, "lora_path": str(adapter)}]
    assert server.keys == ["Bearer k"]
    assert name.startswith("Qwen3-4B-lora-")
    assert facts["adapter_sha256"].startswith(name.rsplit("-", 1)[1])
    (adapter / "adapter_model.safetensors").write_bytes(b"others")
    assert served(server, adapter, tmp_path)[0] != name


def test_an_adapter_that_is_there_is_not_loaded_again(
    server: Server, adapter: Path, tmp_path: Path
) -> None:
    name, _ = served(server, adapter, tmp_path)
    server.served = (*server.served, name)
    assert served(server, adapter, tmp_path)[0] == name
    assert len(server.asked) == 1
    server.served = server.served[:1]
    server.answer = (400, f"The lora adapter '{name}' has already been loaded.")
    assert served(server, adapter, tmp_path)[0] == name


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, "Not Found"), "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve"),
        ((400, "Call to add_lora method failed: rank 64"), "refused .*rank 64"),
        ((500, "no memory"), "refused .*500.*no memory"),
    ],
)
def test_a_server_that_does_not_take_it_is_named(
    server: Server, adapter: Path, tmp_path: Path, answer: tuple[int, str], words: str
) -> None:
    server.answer = answer
    with pytest.raises(ConfigError, match=words):
        served(server, adapter, tmp_path)


def test_a_folder_that_is_no_adapter_is_refused(
    server: Server, adapter: Path, tmp_path: Path
) -> None:
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(ConfigError, match=r"has no adapter_config\.json"):
        served(server, adapter, tmp_path)
    assert not server.asked
