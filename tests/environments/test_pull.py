"""Images come from a registry by digest, and from recipes where there is none."""

import io
import os
import shutil
import socket
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from docker.client import DockerClient

from harness.environments.docker_images import build_images, image_name
from harness.environments.engine import all_images, connect
from harness.environments.errors import ImageError
from harness.environments.pull import Puller, Reference
from tests.conftest import make_instance

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", Reference("", "a", "", "")),
        (
            "swebench/sweb.eval.x86_64.o_1776_r-1:latest",
            Reference("", "swebench/sweb.eval.x86_64.o_1776_r-1", "latest", ""),
        ),
        (f"host.example:5000/a/b:t@{DIGEST}", Reference("host.example:5000", "a/b", "t", DIGEST)),
        (f"localhost/a@{DIGEST}", Reference("localhost", "a", "", DIGEST)),
    ],
)
def test_names_have_parts(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "A/b", "-a", "a b", "a/../b", "a@sha256:12", "a:", "http://a/b", "a//b", "a\n", "a" * 300],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="no image's name"):
        Reference.parse(text)


def test_the_local_name_of_a_row_has_no_digest() -> None:
    assert image_name(make_instance(image=f"a/b@{DIGEST}")) == "a/b:latest"
    assert image_name(make_instance(image=f"a/b:t@{DIGEST}")) == "a/b:t"


@pytest.mark.parametrize("registry", ["http://a", "a/b", "a b", "-a", "a:port", "a;b"])
def test_what_is_no_registry_is_refused(registry: str) -> None:
    with pytest.raises(ImageError, match="no registry"):
        Puller(None, registry)  # type: ignore[arg-type]


def test_a_row_does_not_choose_the_registry() -> None:
    puller = Puller(None, "mirror.example")  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="allow it with --registry"):
        puller.pull("x", f"elsewhere.example/a@{DIGEST}")


def test_without_a_digest_nothing_is_pulled() -> None:
    puller = Puller(None)  # type: ignore[arg-type]
    assert not puller.wants("x", "a/b:latest")
    assert puller.wants("x", f"a/b@{DIGEST}")
    with pytest.raises(ImageError, match="neither the row nor a lock"):
        puller.pull("x", "a/b:latest")


@dataclass
class Registry:
    """A registry of Debian's on this machine with one image in it."""

    client: DockerClient
    host: str
    path: str
    digest: str


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is missing: apt-get install docker-registry")
    try:
        client = connect()
    except ImageError as error:
        pytest.skip(str(error))
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "store")}},
        "http": {"addr": host},
    }
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
    server = subprocess.Popen(
        [program, "serve", str(tmp_path / "config.yml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    path = f"harness-test-{uuid.uuid4().hex[:8]}/pkg"
    try:
        _wait(host)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(path.partition("/")[0]))
        client.api.import_image_from_data(
            archive.getvalue(), repository=f"{host}/{path}", tag="latest"
        )
        client.images.push(f"{host}/{path}", tag="latest")
        image = client.images.get(f"{host}/{path}")
        digest = image.attrs["RepoDigests"][0].rpartition("@")[2]
        client.images.remove(f"{host}/{path}:latest", force=True)
        yield Registry(client, host, path, digest)
    finally:
        server.terminate()
        server.wait(10)
        for each in all_images(client):
            for name in (*each.tags, *(each.attrs.get("RepoDigests") or ())):
                if path.partition("/")[0] in name:
                    client.images.remove(name, force=True)


def _wait(host: str) -> None:
    address, _, port = host.partition(":")
    for _ in range(100):
        try:
            socket.create_connection((address, int(port)), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(host)


@pytest.mark.docker
def test_an_image_is_pulled_by_the_digest_of_its_row(registry: Registry, tmp_path: Path) -> None:
    instance = make_instance(image=f"{registry.path}@{registry.digest}")
    (result,) = build_images(
        [instance],
        recipes={},
        repos=None,
        cache=tmp_path,
        puller=Puller(registry.client, registry.host),
        on_progress=print,
    )
    assert (result.status, result.image) == ("pulled", f"{registry.path}:latest")
    image = registry.client.images.get(result.image)
    assert image.attrs["RepoDigests"] == [f"{registry.host}/{registry.path}@{registry.digest}"]


@pytest.mark.docker
def test_the_digest_of_a_lock_serves_a_row_without(registry: Registry) -> None:
    digests = {"x": f"{registry.path}@{registry.digest}"}
    puller = Puller(registry.client, registry.host, digests)
    assert puller.pull("x", f"{registry.path}:latest") == f"{registry.path}:latest"


@pytest.mark.docker
def test_another_digest_is_not_there(registry: Registry) -> None:
    puller = Puller(registry.client, registry.host)
    with pytest.raises(ImageError, match="cannot be pulled: "):
        puller.pull("x", f"{registry.path}@{DIGEST}")
    assert puller.pull("x", f"{registry.path}@{registry.digest}")


@pytest.mark.docker
def test_a_silent_registry_is_asked_once_and_the_recipe_is_tried(tmp_path: Path) -> None:
    try:
        client = connect()
    except ImageError as error:
        pytest.skip(str(error))
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    said: list[str] = []
    instances = [make_instance(instance_id=name, image=f"a/{name}@{DIGEST}") for name in ("x", "y")]
    results = build_images(
        instances,
        recipes={},
        repos=None,
        cache=tmp_path,
        puller=Puller(client, host, on_progress=said.append),
        on_progress=said.append,
    )
    assert [result.error.partition(";")[0] for result in results] == [
        "x: no recipe for owner/pkg 1.0",
        "y: no recipe for owner/pkg 1.0",
    ]
    assert sum("cannot be pulled" in line for line in said) == 1
    assert sum("did not answer before" in line for line in said) == 1
