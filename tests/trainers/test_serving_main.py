"""The server as a program, and the harness's handle on it."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from harness.agents.base import EndpointFailure
from harness.agents.chat import ChatClient
from harness.agents.embedded import embedded_endpoint
from tests.trainers.tiny import CONTEXT, wait_until


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_an_embedded_model_from_start_to_end(tiny_folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "model.log"
    with embedded_endpoint(str(tiny_folder), log=log, threads=1) as (endpoint, facts):
        assert (facts.name, facts.licence, facts.threads) == ("tiny", "mit", 1)
        assert facts.weights_sha256 in facts.note
        with ChatClient(endpoint) as client:
            assert client.context_length(timeout=60) == CONTEXT
            asked = [{"role": "user", "content": "hello"}]
            answer = client.complete(asked, max_tokens=9, timeout=60)
        assert 1 <= answer.generated_tokens <= 9
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{endpoint.base_url}/models")
    assert "licence  mit" in log.read_text()
    assert f"serving  tiny at {endpoint.base_url.removesuffix('/v1')}" in log.read_text()


def test_the_server_ends_when_its_parent_is_killed(tiny_folder: Path, tmp_path: Path) -> None:
    code = (
        "import os, subprocess, time\nfrom pathlib import Path\n"
        "from harness.agents.embedded import embedded_endpoint\n"
        f"with embedded_endpoint({str(tiny_folder)!r}, log=Path({str(tmp_path / 'log')!r})):\n"
        "    children = f'/proc/self/task/{os.getpid()}/children'\n"
        "    print(Path(children).read_text(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    (server,) = map(int, parent.stdout.readline().split())
    assert alive(server)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not alive(server))


def test_a_model_that_cannot_be_had(tmp_path: Path) -> None:
    with (
        pytest.raises(EndpointFailure, match="did you mean 'smollm2-135m'"),
        embedded_endpoint("smolm2-135m", log=tmp_path / "log"),
    ):
        pytest.fail("must not start")


def test_a_unix_socket(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.sock"
    server = subprocess.Popen(
        [sys.executable, "-m", "trainers.serving", "--model", str(tiny_folder), "--uds", str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        ready = next(line for line in server.stdout if "serving" in line)
        assert f"unix:{path}" in ready
        assert path.stat().st_mode & 0o777 == 0o600
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://model/health").status_code == 200
    finally:
        server.terminate()
        server.wait()
