"""A container whose changes become an image layer."""

import io
import os
import secrets
import socket
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from harness.environments.errors import ImageError
from harness.environments.host_access import FOLDER, HostAccess

if TYPE_CHECKING:
    from docker.client import DockerClient
    from docker.models.containers import Container

NAME = "harness-build"
_ACTIVATE = "source /opt/miniconda3/bin/activate; conda activate testbed"
_TAIL = 2000
# Before Python 3.11, the order of a set in a compiled file is that of its hashes.
_SAME_EVERY_TIME = {"PYTHONHASHSEED": "0"}


class BuildContainer:
    """Runs the steps of one layer as root in a container and commits it.

    With `access` the container has a network and this machine's access to package indexes, which
    is removed before the commit; without, it has no network.
    """

    def __init__(
        self, client: "DockerClient", image: str, *, access: HostAccess | None = None
    ) -> None:
        self._client = client
        self._image = image
        self._access = access
        self._container: Container | None = None

    def __enter__(self) -> Self:
        container = self._client.containers.create(
            self._image,
            ["sleep", "infinity"],
            init=True,
            network_mode="bridge" if self._access else "none",
            name=f"{NAME}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}",
        )
        self._container = container
        container.start()
        if self._access:
            files = io.BytesIO()
            with tarfile.open(fileobj=files, mode="w") as archive:
                for name, data in self._access.files.items():
                    member = tarfile.TarInfo(f"{FOLDER.lstrip('/')}/{name}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
            self.unpack(io.BytesIO(files.getvalue()), "/")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._container is not None:
            self._container.remove(force=True)

    @property
    def _running(self) -> "Container":
        if self._container is None:
            raise RuntimeError("a build container is used inside its `with` block")
        return self._container

    def unpack(self, archive: BinaryIO, folder: str) -> None:
        """Unpack a tar stream into a folder of the container."""
        self._running.put_archive(folder, archive)

    def run(self, script: str, *, step: str, timeout: int = 3600, activate: bool = True) -> str:
        """Run a bash script in `/testbed` with the environment selected; its output.

        Raises ImageError with the output's end when it fails or takes longer than `timeout`
        seconds.
        """
        lines = ["set -eo pipefail", "cd /testbed", *([_ACTIVATE] if activate else []), script]
        result = self._running.exec_run(
            ["timeout", "-k", "10", str(timeout), "bash", "-c", "\n".join(lines)],
            environment={**_SAME_EVERY_TIME, **(self._access.env if self._access else {})},
        )
        raw = result.output if isinstance(result.output, bytes) else b"".join(result.output)
        output = raw.decode(errors="replace")
        if result.exit_code == 0:
            return output
        how = f"took over {timeout} s" if result.exit_code == 124 else f"exit {result.exit_code}"
        raise ImageError(f"{step} failed ({how}):\n{output[-_TAIL:].strip()}")

    def commit(self, image: str, labels: Mapping[str, str]) -> None:
        """Make the container's state the image of that name, without traces of the build."""
        from docker.utils import parse_repository_tag

        self.run(
            f"rm -rf {FOLDER} /root/.cache /var/lib/apt/lists/* /var/cache/apt/archives/*.deb\n"
            "find /tmp /var/tmp -mindepth 1 -delete\n"
            "find /var/log -type f -delete",
            step="removing the traces of the build",
            activate=False,
        )
        changes = ['CMD ["/bin/bash"]', "WORKDIR /testbed"]
        changes += [f'LABEL "{name}"="{value}"' for name, value in labels.items()]
        repository, tag = parse_repository_tag(image)
        self._running.commit(repository=repository, tag=tag or "latest", changes=changes)


def remove_leftovers(client: "DockerClient") -> None:
    """Remove the build containers of this machine's processes that are gone."""
    from docker.errors import APIError

    prefix = f"{NAME}.{socket.gethostname()}."
    for container in client.containers.list(
        all=True, filters={"name": prefix}, ignore_removed=True
    ):
        process = (container.name or "").removeprefix(prefix).partition(".")[0]
        if process.isdigit() and not Path("/proc", process).exists():
            try:
                container.remove(force=True)
            except APIError as error:
                if error.status_code not in (404, 409):  # another process removes it, too
                    raise
