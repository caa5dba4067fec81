"""Where the engine finds what a sandbox binds, also when the harness is itself in a container.

Through a mounted engine socket, paths are those of the engine's host. What this process sees
below a volume or bind of its own container is there too, under another name.
"""

import os
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from docker import APIClient
from docker.errors import NotFound
from docker.types import Mount

from harness.sandboxes.base import Bind, ImageMissingError, SandboxFailure
from harness.sandboxes.docker_engine import engine_errors

_MOUNTINFO = Path("/proc/self/mountinfo")
_CGROUP = Path("/proc/self/cgroup")
_ENGINE_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_SHORT_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class OwnContainer:
    """The container that this process runs in: its identity, and where its mounts come from."""

    id: str
    started: str
    sources: dict[str, str]  # by mount point

    def translate(self, path: Path) -> str:
        """The path on the engine's host. Raises SandboxFailure when it has none."""
        real = path.resolve()
        mount_point = _mount_point(real)
        source = self.sources.get(mount_point)
        if not source:
            raise SandboxFailure(
                f"{path} is inside this container only, so that no sandbox can see it: "
                f"mount a volume or a folder of the host at {real.parent} or above"
            )
        return str(PurePosixPath(source, real.relative_to(mount_point)))


def own_container(api: APIClient) -> OwnContainer | None:
    """The container of that engine that this process runs in, or None outside of one."""
    for name in _candidates():
        with engine_errors("inspect this container"):
            try:
                found = api.inspect_container(name)
            except NotFound:  # of another engine
                continue
        if found["Id"].startswith(name) and found["State"]["Running"]:
            sources = {mount["Destination"]: mount["Source"] for mount in found["Mounts"]}
            return OwnContainer(found["Id"], found["State"]["StartedAt"], sources)
    return None


def engine_mounts(
    api: APIClient, binds: Sequence[Bind], container: OwnContainer | None
) -> list[Mount]:
    """The binds as the engine takes them. Raises ImageMissingError when a source is missing."""
    return [_mount(api, bind, container) for bind in binds]


def _mount(api: APIClient, bind: Bind, container: OwnContainer | None) -> Mount:
    if not bind.source.startswith("/"):
        with engine_errors(f"inspect volume {bind.source}"):
            try:
                api.inspect_volume(bind.source)  # the engine would make a missing one
            except NotFound:
                raise ImageMissingError(
                    f"the Docker engine has no volume {bind.source}, to be bound at {bind.target}"
                ) from None
        return Mount(
            bind.target, bind.source, type="volume", read_only=not bind.writable, no_copy=True
        )
    source = container.translate(Path(bind.source)) if container else bind.source
    mount = Mount(bind.target, source, type="bind", read_only=not bind.writable)
    # Old engines leave the mounts below a read-only one writable.
    mount["BindOptions"] = {"NonRecursive": True}
    return mount


def _candidates() -> Iterator[str]:
    """Ids that may be of this process's container."""
    for line in _MOUNTINFO.read_text().splitlines():
        fields = line.split()
        if fields[4] in _ENGINE_FILES:
            yield from _ID.findall(fields[3])
    yield from _ID.findall(_CGROUP.read_text())
    if _SHORT_ID.fullmatch(name := socket.gethostname()):
        yield name


def _mount_point(path: Path) -> str:
    """The innermost mount point that a path without links is below."""
    points = {
        re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[4])
        for line in os.fsdecode(_MOUNTINFO.read_bytes()).splitlines()
    }
    return next(str(each) for each in (path, *path.parents) if str(each) in points)
