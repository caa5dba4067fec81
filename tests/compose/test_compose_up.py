"""A whole evaluation in containers, from a fresh copy of the project to nothing left."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import httpx
import pytest
from docker.errors import DockerException

from harness.records.cache import cache_root
from tests.compose.conftest import ROOT

INSTANCE = "astanin__python-tabulate-90001"
SECONDS = 300


@dataclass(frozen=True)
class Project:
    """A compose project of this test's own, in a copy of the project's tracked files."""

    name: str
    folder: Path
    port: int
    client: docker.DockerClient

    def compose(self, *arguments: str, **settings: str) -> None:
        command = [*compose_command(), *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "DOCKER_BUILDKIT": "0", **settings},
            capture_output=True,
            text=True,
            timeout=1500,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}{self.logs()}"

    def logs(self) -> str:
        """The last lines of every service."""
        found = [self.client.containers.get(one) for one in self.containers()]
        return "".join(f"\n{one.name}:\n{one.logs(tail=20).decode()}" for one in found)

    def containers(self, service: str = "") -> list[str]:
        labels = [f"com.docker.compose.project={self.name}"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        found = self.client.containers.list(all=True, filters={"label": labels})
        return [str(one.id) for one in found]

    def sandboxes(self, harness: str) -> list[str]:
        found = self.client.containers.list(
            all=True, filters={"label": "swe-harness.host"}, ignore_removed=True
        )
        return [str(one.id) for one in found if harness in one.labels["swe-harness.host"]]

    def left(self) -> list[str]:
        """What still exists of the project, but for images."""
        kinds = (self.client.volumes.list(), self.client.networks.list())
        named = [str(one.name) for kind in kinds for one in kind]
        return [*self.containers(), *(name for name in named if self.name in name)]


def compose_command() -> list[str]:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker"):
        plugin = ["docker", "compose"]
        if subprocess.run([*plugin, "version"], capture_output=True).returncode == 0:
            return plugin
    pytest.skip("no compose on this machine")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    compose_command()
    try:
        client = docker.from_env()
    except DockerException as error:
        pytest.skip(str(error))
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().strip("\0").split("\0"):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["python3", "docker/prepare.py"], cwd=tmp_path, check=True, timeout=600)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    project = Project(f"compose-test-{secrets.token_hex(3)}", tmp_path, port, client)
    settings = {
        "COMPOSE_PROJECT_NAME": project.name,
        "INSTANCES": INSTANCE,
        "REPORT_PORT": str(port),
        "METHODS": "gold,noop",
        "RUN_ID": "first",
    }
    models = sorted((cache_root() / "models").glob("smollm2-135m-*-v*"))
    if models:  # converted by another test: nothing is downloaded
        copy = Path(shutil.copytree(models[-1], tmp_path / "data" / "model"))
        for path in copy.iterdir():
            path.chmod(0o644)
        settings |= {"DATA": "./data", "MODEL": "/data/model"}
    with (tmp_path / ".env").open("a") as env:
        env.writelines(f"{name}={value}\n" for name, value in settings.items())
    try:
        yield project
    finally:
        project.compose("down", "-v")
        client.close()


@pytest.mark.compose
@pytest.mark.docker
@pytest.mark.slow
def test_an_evaluation_comes_up_ends_with_a_report_and_leaves_nothing(project: Project) -> None:
    project.compose("up", "-d", "--build")
    url = f"http://127.0.0.1:{project.port}"
    deadline = time.monotonic() + SECONDS
    while httpx.get(f"{url}/runs/first/report/index.html").status_code != 200:
        (harness,) = project.containers("harness")
        assert project.client.containers.get(harness).status == "running", project.logs()
        assert time.monotonic() < deadline, project.logs()
        time.sleep(0.5)
    assert INSTANCE in httpx.get(f"{url}/runs/first/report/index.html").text
    assert httpx.get(url).text.count("1 of 1") == 2
    scores = httpx.get(f"{url}/runs/first/gold/scores.json").json()
    assert scores["resolved"] == 1
    for image in ("harness", "model"):
        check_image(project.client, f"swe-harness-compose/{image}")

    # A run that is cut off: its sandboxes are containers that compose does not know.
    project.compose("up", "-d", METHODS="mini", SEEDS="9", RUN_ID="second")
    (harness,) = project.containers("harness")
    while not project.sandboxes(harness):
        assert project.client.containers.get(harness).status == "running", project.logs()
        time.sleep(0.2)
    project.compose("down", "-v")
    assert project.sandboxes(harness) == []
    assert project.left() == []


def check_image(client: docker.DockerClient, name: str) -> None:
    """An image is no root's, and nothing of the machine that built it is in it."""
    image = client.images.get(name)
    assert image.attrs["Config"]["User"] == "harness"
    told = str(image.attrs["Config"]) + str(image.history())
    assert "harness-build" not in told
    assert not re.search(r"KEY|TOKEN|PASSWORD|SECRET", told)
    traces = "-name .env -o -name .harness-build -o -path /etc/pip.conf"
    output = client.containers.run(
        name,
        [f"find / -xdev {traces}"],
        entrypoint=["sh", "-c"],
        user="root",
        network_mode="none",
        remove=True,
    )
    assert output == b""
