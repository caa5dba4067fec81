"""Removes what a harness container started on the engine once that container has ended.

Sandboxes are containers beside the harness, not inside it: without this, those of a harness that
is stopped or killed would stay, and hold the project's volumes. It is started before the harness
and stopped after it.
"""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from types import FrameType

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from harness.environments.base_images import LABEL
from harness.environments.build_container import NAME
from harness.sandboxes.docker import DockerProvider

ROLE = "swe-harness.role=harness"
PROJECT = "com.docker.compose.project"
HOST_NAME = 12  # characters of its id: what a container is called inside


class Sweeper:
    """Looks after the harness containers of the compose project that this container is part of.

    Raises SystemExit outside of one.
    """

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client
        self._sandboxes = DockerProvider()
        own = client.containers.get(socket.gethostname())
        self._created = datetime.fromisoformat(own.attrs["Created"])
        project = own.labels.get(PROJECT)
        if not project:
            sys.exit("sweeper: this container is not part of a compose project")
        self._labels = [ROLE, f"{PROJECT}={project}"]
        self._harnesses: set[str] = set()

    def watch(self) -> Iterator[None]:
        """Yield once, and then whenever a harness container has started or ended."""
        filters = {
            "type": "container",
            "event": ["start", "die", "stop", "destroy"],
            "label": self._labels,
        }
        events = self._client.events(decode=True, filters=filters)
        for harness in self._client.containers.list(all=True, filters={"label": self._labels}):
            self._harnesses.add(str(harness.id))
        yield
        for event in events:
            self._harnesses.add(event["Actor"]["ID"])
            yield

    def sweep(self) -> None:
        """Remove the sandboxes and build containers of harnesses that have ended."""
        removed = self._sandboxes.cleanup()
        ended = {one[:HOST_NAME] for one in self._harnesses if not self._runs(one)}
        found = self._client.containers.list(all=True, ignore_removed=True)
        removed += sum(_remove(one) for one in found if _builder(one) in ended)
        if removed:
            print(f"removed {removed} containers of an ended harness")

    def remove_toolchains(self) -> None:
        """Remove the toolchain volumes made since the project came up, unless they are in use."""
        for volume in self._client.volumes.list(filters={"label": f"{LABEL}toolchain"}):
            if datetime.fromisoformat(volume.attrs["CreatedAt"]) > self._created:
                with suppress(APIError):
                    volume.remove()
                    print(f"removed volume {volume.name}")

    def _runs(self, container: str) -> bool:
        try:
            return self._client.containers.get(container).status == "running"
        except NotFound:
            return False


def _builder(container: Container) -> str:
    """The host name of the harness that builds an image in a container; empty for others."""
    kind, *rest = (container.name or "").split(".")
    return rest[0] if kind == NAME and rest else ""


def _remove(container: Container) -> bool:
    with suppress(NotFound):
        try:
            container.remove(force=True, v=True)
        except APIError as error:
            if error.status_code != 409:  # its removal is under way
                raise
        return True
    return False


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit


def main() -> None:
    """Sweep at the start, whenever a harness ends, and at the end."""
    signal.signal(signal.SIGTERM, _stop)
    sweeper = Sweeper(docker.from_env())
    print("sweeping")
    try:
        for _ in sweeper.watch():
            sweeper.sweep()
    finally:
        sweeper.sweep()
        sweeper.remove_toolchains()


if __name__ == "__main__":
    main()
