"""The Docker engine that images are built on."""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from harness.environments.errors import ImageError

if TYPE_CHECKING:
    from docker.client import DockerClient
    from docker.models.images import Image

_SECONDS = 600


def connect() -> "DockerClient":
    """The engine that the environment names. Raises ImageError when none answers."""
    from docker.client import DockerClient
    from docker.errors import DockerException

    try:
        return DockerClient.from_env(timeout=_SECONDS)
    except DockerException as error:
        raise ImageError(
            f"no Docker engine answers ({error}); start one with `docker/engine.sh start` and set "
            "DOCKER_HOST as it prints"
        ) from None


def find_image(client: "DockerClient", name: str) -> "Image | None":
    """The image of a name or id, when the engine has it."""
    from docker.errors import ImageNotFound

    try:
        return client.images.get(name)
    except ImageNotFound:
        return None


def all_images(client: "DockerClient") -> "Iterator[Image]":
    """The engine's images, but for those that go away while they are listed."""
    for identity in client.api.images(quiet=True):
        image = find_image(client, identity)
        if image is not None:
            yield image


def image_id(image: "Image") -> str:
    """An image's content digest (`sha256:…`)."""
    if image.id is None:
        raise ImageError("the engine gave an image without an id")
    return image.id


def remove_replaced(client: "DockerClient", image: str) -> None:
    """Remove an image by id, and parents only it had, unless it has a name or a container."""
    from docker.errors import APIError

    found = find_image(client, image)
    if found is not None and not found.tags:
        with suppress(APIError):
            client.images.remove(image)
