"""A real instance of the shipped suite, ready in both kinds of sandboxes."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import pytest

from harness.environments.images import build_all
from harness.records import Instance
from harness.records.cache import cache_root
from harness.sandboxes import make_provider
from harness.sandboxes.base import SandboxFailure, SandboxProvider
from harness.suites.load import load_suite

PROVIDERS = ["process", pytest.param("docker", marks=pytest.mark.docker)]


@dataclass(frozen=True)
class RealInstance:
    """An instance, its image, and what starts sandboxes from it."""

    instance: Instance
    image: str
    provider: SandboxProvider


def leftovers(provider: SandboxProvider, owner: str) -> list[str]:
    """Sandboxes of an owner that still exist."""
    if provider.kind == "process":
        return [path.name for path in (cache_root() / "sandboxes").glob(f"{owner}+*")]
    import docker

    client = docker.from_env()
    found = client.containers.list(all=True, filters={"label": f"swe-harness.owner={owner}"})
    return [str(container.name) for container in found]


@cache
def real_instance(kind: Literal["docker", "process"]) -> RealInstance:
    """The first test instance of `pypi-mini`; the test is skipped when the sandbox is missing."""
    instance = load_suite("pypi-mini/test").instances[0]
    try:
        provider = make_provider(kind)
    except SandboxFailure as error:
        pytest.skip(str(error))
    (built,) = build_all(
        [instance],
        kind=kind,
        repos=None,
        force=False,
        on_progress=print,
    )
    assert not built.error, built.error
    return RealInstance(instance, built.image, provider)
