"""The git repository inside an instance's Docker image, taken out without running anything."""

import os
import re
import secrets
import socket
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from harness.environments.build_container import NAME
from harness.environments.docker_images import image_name
from harness.environments.engine import connect
from harness.environments.errors import ImageError
from harness.environments.image_files import ChunkStream
from harness.records import Instance

_GIT = "/testbed/.git"
_OBJECT = re.compile(r"\.git/objects/([0-9a-f]{2}/[0-9a-f]{38,62}|pack/pack-[0-9a-f]+\.(pack|idx))")
_MAX_BYTES = 4 * 1024 * 1024 * 1024


def unpack_repository(instance: Instance, destination: Path) -> None:
    """Make `destination` a bare repository with the objects of the image's `/testbed`.

    Objects alone are taken: no configuration, hook or ref of the image. Raises ConnectionError when
    no engine answers, ImageError when the image is not there or cannot be read.
    """
    with _exported(image_name(instance)) as tar:
        taken = 0
        for member in tar:
            if not member.isreg() or not _OBJECT.fullmatch(member.name):
                continue
            taken += member.size
            if taken > _MAX_BYTES:
                raise ImageError(f"{image_name(instance)}: {_GIT} is over {_MAX_BYTES} bytes")
            target = destination / member.name.removeprefix(".git/")
            target.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None
            with target.open("wb") as file:
                while block := content.read(1 << 20):
                    file.write(block)
    (destination / "refs").mkdir(parents=True, exist_ok=True)
    (destination / "objects").mkdir(exist_ok=True)
    (destination / "HEAD").write_text("ref: refs/heads/main\n")


@contextmanager
def _exported(image: str) -> Iterator[tarfile.TarFile]:
    """The archive of the image's git folder, from a container that is never started."""
    from docker.errors import DockerException, ImageNotFound, NotFound

    try:
        api = connect().api
    except ImageError as error:
        raise ConnectionError(str(error)) from None
    container = None
    try:
        container = api.create_container(
            image,
            ["true"],
            network_disabled=True,
            name=f"{NAME}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}",
        )["Id"]
        chunks, _ = api.get_archive(container, _GIT)
        with (
            closing(ChunkStream(chunks)) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            yield tar
    except ImageNotFound:
        raise ImageError(f"the Docker engine has no image {image}") from None
    except (DockerException, tarfile.TarError, OSError) as error:
        raise ImageError(f"{image}: {_GIT} cannot be read: {error}") from None
    finally:
        if container is not None:
            with suppress(NotFound):
                api.remove_container(container, force=True, v=True)
