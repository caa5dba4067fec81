"""The OpenHands toolchain as a Docker image and as the volume that containers mount."""

import fcntl
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environments.base_images import LABEL, OWN_NAMES
from harness.environments.engine import connect, find_image
from harness.environments.errors import ImageError
from harness.environments.toolchain import PYTHON, TOOLCHAIN_FOLDER, Toolchain
from harness.environments.toolchain_tree import FILLED
from harness.records.cache import cache_root

if TYPE_CHECKING:
    from docker.client import DockerClient
    from docker.models.containers import Container

_MEMBERS = f"s,^\\.,{TOOLCHAIN_FOLDER.lstrip('/')},S"  # file names; targets of links stay


def image_name(toolchain: Toolchain) -> str:
    """The name of a toolchain's image."""
    return f"{OWN_NAMES}openhands:{_short(toolchain)}"


def volume_name(toolchain: Toolchain) -> str:
    """The name of a toolchain's volume."""
    return f"swe-harness-oh-{_short(toolchain)}"


def ensure_image(toolchain: Toolchain) -> str:
    """The name of the toolchain's image, imported from the tree when the engine lacks it.

    The tree is streamed; no copy is written. Raises ImageError.
    """
    client = connect()
    name = image_name(toolchain)
    if find_image(client, name) is None:
        _import(client, toolchain, name)
    return name


def ensure_volume(toolchain: Toolchain, *, force: bool = False) -> str:
    """The name of the toolchain's volume, filled from the image when the engine lacks it.

    A volume whose filling was cut short is filled again, with `force` every one. An engine is asked
    once per process. Raises ImageError.
    """
    if force:
        _make_volume(toolchain, force=True)
    return _made_volume(toolchain, os.environ.get("DOCKER_HOST", ""))


@cache
def _made_volume(toolchain: Toolchain, engine: str) -> str:
    return _make_volume(toolchain, force=False)


def _make_volume(toolchain: Toolchain, *, force: bool) -> str:
    from docker.errors import DockerException

    client = connect()
    name = volume_name(toolchain)
    try:
        with _one_at_a_time():
            image = ensure_image(toolchain)
            if force or not _is_filled(client, image, name):
                _fill(client, image, toolchain)
    except DockerException as error:
        raise ImageError(f"volume {name} cannot be filled: {error}") from None
    return name


def extract(image: str, prefix: Path) -> None:
    """Copy the toolchain out of an image into a new folder. Raises ImageError."""
    from docker.errors import DockerException

    client = connect()
    if find_image(client, image) is None:
        raise ImageError(f"the Docker engine has no image {image}")
    prefix.mkdir()
    command = ["tar", "-x", "--no-same-owner", "--strip-components=1", "-C", str(prefix)]
    try:
        container = client.containers.create(image, PYTHON, network_mode="none")
        try:
            blocks, _ = container.get_archive(TOOLCHAIN_FOLDER)
            with subprocess.Popen(command, stdin=subprocess.PIPE) as unpacking:
                assert unpacking.stdin is not None
                for block in blocks:
                    unpacking.stdin.write(block)
        finally:
            container.remove()
    except (DockerException, BrokenPipeError) as error:
        raise ImageError(f"{image}: no toolchain can be taken out of it: {error}") from None


def _import(client: "DockerClient", toolchain: Toolchain, name: str) -> None:
    from docker.errors import DockerException

    repository, _, tag = name.rpartition(":")
    changes = [f'LABEL "{LABEL}toolchain"="{toolchain.digest}"', f'CMD ["{PYTHON}"]']
    command = ["tar", "--numeric-owner", "--owner=0", "--group=0", "--sort=name", "--mtime=@0"]
    command += ["--transform", _MEMBERS, "-C", str(toolchain.root), "-c", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as packing:
        try:
            client.api.import_image_from_stream(
                packing.stdout, repository=repository, tag=tag, changes=changes
            )
        except DockerException as error:
            packing.kill()
            raise ImageError(f"image {name} cannot be imported: {error}") from None
        said = packing.stderr.read().decode() if packing.stderr else ""
    if packing.returncode != 0:
        client.images.remove(name)
        raise ImageError(f"packing {toolchain.root} failed: {said.strip()}")


def _is_filled(client: "DockerClient", image: str, name: str) -> bool:
    from docker.errors import NotFound

    try:
        client.volumes.get(name)
    except NotFound:
        return False
    with _mounted(client, image, name) as container:
        try:
            container.get_archive(f"{TOOLCHAIN_FOLDER}/{FILLED}")
        except NotFound:
            return False
    return True


def _fill(client: "DockerClient", image: str, toolchain: Toolchain) -> None:
    """Docker copies an image's files into an empty volume when a container is made."""
    from docker.errors import NotFound

    name = volume_name(toolchain)
    with suppress(NotFound):
        client.volumes.get(name).remove()
    client.volumes.create(name, labels={f"{LABEL}toolchain": toolchain.digest})
    with _mounted(client, image, name) as container:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as writer:
            writer.addfile(tarfile.TarInfo(FILLED))
        container.put_archive(TOOLCHAIN_FOLDER, archive.getvalue())


@contextmanager
def _mounted(client: "DockerClient", image: str, name: str) -> "Iterator[Container]":
    """A container, never started, that has the volume."""
    container = client.containers.create(
        image,
        labels={f"{LABEL}toolchain": name},
        volumes={name: {"bind": TOOLCHAIN_FOLDER, "mode": "rw"}},
        network_mode="none",
    )
    try:
        yield container
    finally:
        container.remove()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    folder = cache_root() / "toolchains"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".docker-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _short(toolchain: Toolchain) -> str:
    return toolchain.digest.removeprefix("sha256:")[:12]
