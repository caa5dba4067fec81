"""`docker/engine.sh` starts an engine beside others and leaves nothing running."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker.client import DockerClient

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "engine.sh"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def engine() -> Iterator[Run]:
    """Runs the script with a state folder of its own; a path of a test's would be too long."""
    state = Path(tempfile.mkdtemp(prefix="engine-"))
    env = {
        "PATH": os.environ["PATH"],
        "SWE_HARNESS_ENGINE": str(state),
        "SWE_HARNESS_ENGINE_SUBNET": "172.30.78.1/24",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([SCRIPT, *arguments], env=env, capture_output=True, text=True)

    yield run
    run("stop")
    shutil.rmtree(state)


def bridges() -> list[str]:
    return sorted(path.name for path in Path("/sys/class/net").glob("swe-*"))


def test_a_stopped_engine_says_how_to_start_it(engine: Run) -> None:
    result = engine("status")
    assert result.returncode == 1
    assert "engine.sh start" in result.stderr


def test_unknown_words_are_refused(engine: Run) -> None:
    assert "usage: engine.sh start" in engine("restart").stderr
    assert "not '--instal'" in engine("start", "--instal").stderr


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="an engine is started by root")
def test_an_engine_starts_once_answers_and_stops(engine: Run) -> None:
    before = bridges()
    started = engine("start")
    assert started.returncode == 0, started.stderr
    export, _, host = started.stdout.strip().partition("=")
    assert export == "export DOCKER_HOST"
    client = DockerClient(base_url=host)
    daemon = client.info()["ID"]
    assert engine("start").stdout == engine("status").stdout == started.stdout
    assert client.info()["ID"] == daemon
    client.close()

    assert engine("stop").returncode == 0
    assert engine("status").returncode == 1
    assert bridges() == before
