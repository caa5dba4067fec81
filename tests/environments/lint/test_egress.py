"""A sandbox with a network is told from one without."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.environments.engine import connect
from harness.environments.errors import ImageError
from harness.environments.lint.egress import probe_egress
from harness.sandboxes.base import Sandbox, SandboxProvider
from harness.sandboxes.docker import DockerProvider
from harness.sandboxes.process import ProcessImage, ProcessProvider


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SandboxProvider, str]]:
    """A provider and an image of its kind."""
    if request.param == "process":
        ProcessImage(digest="sha256:" + "0" * 64, mounts=()).save(tmp_path)
        yield ProcessProvider(tmp_path / "state"), str(tmp_path)
        return
    try:
        images = connect().images.list("swe-harness/base.bookworm")
    except ImageError as error:
        pytest.skip(str(error))
    if not images:
        pytest.skip("no base image here")
    yield DockerProvider(), images[0].tags[0]


class Networked:
    """The same sandboxes, with a network."""

    def __init__(self, provider: SandboxProvider) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> object:
        return getattr(self._provider, name)

    def start(self, image: str, **options: object) -> Sandbox:
        return self._provider.start(image, network=True, **options)  # type: ignore[arg-type]


def test_a_sandbox_reaches_nothing(place: tuple[SandboxProvider, str]) -> None:
    assert list(probe_egress(*place)) == []


def test_a_network_is_found_by_what_it_reaches(place: tuple[SandboxProvider, str]) -> None:
    provider, image = place
    found = [each.detail for each in probe_egress(Networked(provider), image)]  # type: ignore[arg-type]
    assert "a listener of this machine heard the sandbox" in found
    assert any(detail.startswith("a route: ") for detail in found)
