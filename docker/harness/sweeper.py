"""Removes what a harness container started on the engine once that container has ended.

Sandboxes are containers beside the harness, not inside it: without this, those of a harness that
is stopped or killed would stay, and hold the project's volumes. It is started before the harness
and stopped after it, and looks after the containers of its own compose project alone.
"""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

ROLE = "swe-harness.role=harness"
PROJECT = "com.docker.compose.project"
HOST = "swe-harness.host"
BUILD = "harness-build."
SHORT_ID = 12  # Docker's default host name of a container


class Sweeper:
    """Knows the harness containers of one compose project, by id."""

    def __init__(self, client: docker.DockerClient, project: str) -> None:
        self._client = client
        self._labels = [ROLE, f"{PROJECT}={project}"]
        self._harnesses: set[str] = set()

    def sweep(self) -> int:
        """Remove what ended harnesses left; how many containers that were."""
        for container in self._client.containers.list(all=True, filters={"label": self._labels}):
            self._harnesses.add(str(container.id))
        ended = {one[:SHORT_ID] for one in self._harnesses if not self._runs(one)}
        return sum(_remove(container) for container in self._left_by(ended))

    def watch(self) -> Iterator[None]:
        """Yield whenever a harness container has started or ended."""
        filters = {"type": "container", "event": ["start", "die"], "label": self._labels}
        for event in self._client.events(decode=True, filters=filters):
            self._harnesses.add(event["Actor"]["ID"])
            yield

    def _runs(self, container: str) -> bool:
        try:
            return self._client.containers.get(container).status == "running"
        except NotFound:
            return False

    def _left_by(self, hosts: set[str]) -> list[Container]:
        found = self._client.containers.list(all=True, ignore_removed=True)
        return [one for one in found if _host(one) in hosts]


def _host(container: Container) -> str:
    """The host name of the harness that started a container; empty for others."""
    name = container.name or ""
    if name.startswith(BUILD):
        return name.removeprefix(BUILD).partition(".")[0]
    return str(container.labels.get(HOST, "")).partition(":")[0]


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
    client = docker.from_env()
    own = client.containers.get(socket.gethostname())
    project = own.labels.get(PROJECT)
    if not project:
        sys.exit("sweeper: this container is not part of a compose project")
    sweeper = Sweeper(client, project)
    print(f"sweeping for project {project}")
    try:
        events = sweeper.watch()
        while True:
            if removed := sweeper.sweep():
                print(f"removed {removed} containers of an ended harness")
            next(events)
    finally:
        if removed := sweeper.sweep():
            print(f"removed {removed} containers of an ended harness")


if __name__ == "__main__":
    main()
