"""Each kind of sandbox with an image that has bash, git and Python, and an empty /testbed."""

import functools
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.records.cache import cache_root
from harness.sandboxes import make_provider
from harness.sandboxes.base import SandboxFailure, SandboxProvider
from harness.sandboxes.process import Mount, ProcessImage, ProcessProvider


@dataclass(frozen=True)
class Kind:
    """A provider, an image for it, and what it has left of an owner's sandboxes."""

    provider: SandboxProvider
    image: str
    owner: str
    left: Callable[[str], list[str]]
    state: Path | None = None


def process_kind(folder: Path) -> Kind:
    """Process sandboxes with state and image below a folder."""
    image, state = folder / "image", folder / "state"
    (image / "testbed").mkdir(parents=True)
    ProcessImage(
        digest="sha256:" + "0" * 64,
        mounts=(Mount(source="testbed", target="/testbed", mode="copy"),),
    ).save(image)
    try:
        provider = ProcessProvider(state)
    except SandboxFailure as failure:
        pytest.skip(str(failure))
    return Kind(
        provider=provider,
        image=str(image),
        owner=_owner(),
        left=lambda owner: [path.name for path in state.glob(f"{owner}+*")],
        state=state,
    )


def docker_kind() -> Kind:
    """Docker sandboxes; the image is `HARNESS_TEST_IMAGE` or this project's own base image."""
    try:
        provider = make_provider("docker")
    except SandboxFailure as failure:
        pytest.skip(str(failure))
    return Kind(provider=provider, image=docker_image(), owner=_owner(), left=_containers)


@functools.cache
def docker_image() -> str:
    """A small image, made once per machine."""
    if image := os.environ.get("HARNESS_TEST_IMAGE"):
        return image
    import docker

    from harness.environments.base_images import base_image

    return base_image(docker.from_env(), "bookworm", cache=cache_root(), on_progress=print)


def _containers(owner: str) -> list[str]:
    import docker

    label = f"swe-harness.owner={owner}"
    return [
        str(c.id) for c in docker.from_env().containers.list(all=True, filters={"label": label})
    ]


def _owner() -> str:
    return f"test-{uuid.uuid4().hex}"
