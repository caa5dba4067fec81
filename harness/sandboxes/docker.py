"""Sandboxes that are Docker containers."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path

import docker
from docker.errors import APIError, ImageNotFound, NotFound

from harness.sandboxes.base import Bind, ExecResult, ImageMissingError, Limits, SandboxFailure
from harness.sandboxes.disk import deleted_bytes, tree_bytes
from harness.sandboxes.docker_binds import OwnContainer, engine_mounts, own_container
from harness.sandboxes.docker_config import host_config
from harness.sandboxes.docker_engine import (
    ExecStream,
    NotStartedError,
    engine_errors,
    kill,
    layer_bytes,
    remove,
    threads,
)
from harness.sandboxes.host import container_processes, lives, process_token
from harness.sandboxes.output import HeadTail
from harness.sandboxes.shell import OnOutput, ShellSandbox, refused

LABEL = "swe-harness"
_REQUEST_SECONDS = 120
_IDLE_THREADS = 2  # an init and a sleep
_CONTAINER = re.compile(r"container:([0-9a-f]{64})@(.+)")
_STARTED = b"\x06"
_KILLED = 137
# Takes stdin by its size (a half-closed connection does not work on every transport), says that
# it is ready, merges stderr into stdout in the order of writing, and becomes the command. Only
# /dev/shm is new each time that the container starts, whatever was done to the other folders.
_RUN = r"""
exec 2>&1
if [ "$2" -gt 0 ]; then
  input=$(mktemp -p /dev/shm) && head -c "$2" >"$input" && exec <"$input" && rm "$input" || exit 126
fi
printf '\006'
cd -- "$1" || exit 126
shift 2
exec "$@"
"""
_NO_SHELL = re.compile(r'exec:? "?[\w/]*sh"?: ')
_CANNOT_EXECUTE = (126, 127)


class DockerProvider:
    """Containers on the engine that `DOCKER_HOST` names. Safe to use from several threads.

    Raises SandboxFailure when no engine answers.
    """

    kind = "docker"

    def __init__(self) -> None:
        with engine_errors("reach its engine; start one, or set DOCKER_HOST"):
            self._api = docker.from_env(timeout=_REQUEST_SECONDS, max_pool_size=64).api
        self._own_container = own_container(self._api)
        self._quota = True  # until the engine refuses

    def digest(self, image: str) -> str:
        """See `SandboxProvider.digest`: the image's id."""
        with engine_errors(f"inspect image {image}"):
            try:
                return str(self._api.inspect_image(image)["Id"])  # type: ignore[no-untyped-call]
            except ImageNotFound:
                raise ImageMissingError(f"the Docker engine has no image {image}") from None

    def start(
        self,
        image: str,
        *,
        limits: Limits,
        owner: str,
        network: bool = False,
        binds: Sequence[Bind] = (),
    ) -> "DockerSandbox":
        """See `SandboxProvider.start`."""
        digest = self.digest(image)
        mounts = engine_mounts(self._api, binds, self._own_container)
        labels = {
            LABEL: "1",
            f"{LABEL}.owner": owner,
            f"{LABEL}.host": _host(self._own_container),
            f"{LABEL}.process": process_token(os.getpid()),
        }

        def create(*, quota: bool) -> str:
            config = host_config(self._api, limits, network=network, mounts=mounts, quota=quota)
            created = self._api.create_container(
                digest,
                entrypoint=["sleep", "infinity"],
                hostname="sandbox",
                host_config=config,
                labels=labels,
            )
            return str(created["Id"])

        with engine_errors(f"create a container of {image}"):
            try:
                container = self._create(create)
            except APIError as error:
                if "bind source path does not exist" in str(error):
                    raise ImageMissingError(f"something to bind is missing: {error}") from None
                raise
        folders = [Path(each.source) for each in binds if each.writable]
        sandbox = DockerSandbox(self._api, container, digest, limits, folders)
        try:
            sandbox.start()
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def cleanup(self, owner: str | None = None) -> int:
        """See `SandboxProvider.cleanup`: the containers that this host's dead processes made."""
        labels = [f"{LABEL}.process", f"{LABEL}.host"]
        if owner is not None:
            labels.append(f"{LABEL}.owner={owner}")
        with engine_errors("list containers"):
            found = self._api.containers(all=True, filters={"label": labels})
        left = [each["Id"] for each in found if self._abandoned(each["Labels"])]
        return sum(remove(self._api, container) for container in left)

    def _create(self, create: Callable[..., str]) -> str:
        """Make a container whose file system has a limit of its own, where the engine can."""
        if self._quota:
            try:
                return create(quota=True)
            except APIError as error:
                if "storage-opt" not in str(error):
                    raise
                self._quota = False
        return create(quota=False)

    def _abandoned(self, labels: Mapping[str, str]) -> bool:
        """Whether the process that made a container is gone, as far as can be told from here."""
        host = labels[f"{LABEL}.host"]
        if host == _host(self._own_container):
            return not lives(labels[f"{LABEL}.process"])
        container = _CONTAINER.fullmatch(host)
        if container is None:
            return False
        with engine_errors("inspect a container"):
            try:
                state = self._api.inspect_container(container[1])["State"]
            except NotFound:
                return True
        return not state["Running"] or state["StartedAt"] != container[2]


class DockerSandbox(ShellSandbox):
    """One container.

    A command that is killed takes all processes of the container with it; the files stay, and the
    next command finds the container started again. The same helps when a command's leftovers let
    no other start, as a fork bomb's do.
    """

    def __init__(
        self,
        api: docker.APIClient,
        container: str,
        digest: str,
        limits: Limits,
        writable: Sequence[Path],
    ) -> None:
        super().__init__(digest, limits)
        self._api = api
        self._container = container
        self._layer: Path | None = None
        self._writable = [path for path in writable if path.is_absolute() and path.exists()]
        self._state = threading.Lock()
        self._running = False
        self._closed = False

    def start(self) -> None:
        """Start the container unless it runs."""
        with self._state:
            if self._closed:
                raise SandboxFailure("the sandbox is closed")
            if not self._running:
                with engine_errors("start the container", NotStartedError):
                    self._api.start(self._container)
                self._running = True

    def close(self) -> None:
        """See `Sandbox.close`."""
        try:
            with self._state:
                self._closed = True
                remove(self._api, self._container)
        finally:
            self._disk.close()

    def _kill(self) -> None:
        with self._state:
            kill(self._api, self._container)
            self._running = False

    def _disk_place(self) -> Path | None:
        with engine_errors("inspect the container"):
            found = self._api.inspect_container(self._container)
        self._layer = _local((found.get("GraphDriver") or {}).get("Data") or {})
        if self._layer:
            volumes = [each for each in found["Mounts"] if each["Type"] == "volume" and each["RW"]]
            self._writable += [Path(each["Source"]) for each in volumes]
        return self._layer

    def _disk_bytes(self) -> int:
        """What the container's layer, its writable binds and, if seen from here, its deleted files
        take. The engine alone counts holes too, and no inodes.
        """
        folders = [*self._writable, *([self._layer] if self._layer else [])]
        used = tree_bytes(folders) if folders else 0
        if self._layer is None:
            used += layer_bytes(self._api, self._container)
        with engine_errors("inspect the container"):
            first = self._api.inspect_container(self._container)["State"]["Pid"]
        return used + deleted_bytes(container_processes(first, self._container))

    def _settle(self) -> None:
        """End what a command left running when it takes so many processes as to hinder the next."""
        running = threads(self._api, self._container) if self._running else 0
        self._disk.left_running = running > _IDLE_THREADS
        if running > self._limits.pids // 2:
            self._kill()

    def _run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        cwd: str,
        env: Mapping[str, str],
        stdin: bytes,
        on_output: OnOutput | None,
        keep: int,
    ) -> ExecResult:
        argv = ["sh", "-c", _RUN, "sh", cwd, str(len(stdin)), *command]
        try:
            return self._attempt(argv, timeout, env, stdin, on_output, HeadTail(keep))
        except NotStartedError:
            self._kill()
        try:
            return self._attempt(argv, timeout, env, stdin, on_output, HeadTail(keep))
        except NotStartedError as failure:
            if not self._destroyed(failure):
                raise
            return refused(str(failure))

    def _attempt(
        self,
        argv: list[str],
        timeout: float,
        env: Mapping[str, str],
        stdin: bytes,
        on_output: OnOutput | None,
        kept: HeadTail,
    ) -> ExecResult:
        began = time.monotonic()
        deadline = began + timeout
        self.start()
        stopped, code = False, None
        exec_id = self._create(argv, env, stdin)
        stream = ExecStream(self._api, exec_id, stdin)
        try:
            with closing(stream):  # before a kill: output that nobody takes delays it
                chunks = stream.chunks(deadline)
                try:
                    first = next(chunks, b"")
                except SandboxFailure as failure:
                    raise NotStartedError(str(failure)) from failure
                if not first.startswith(_STARTED) and (first or stream.ended):
                    text = first.decode(errors="replace").strip()
                    raise NotStartedError(
                        f"the container runs no command: {text}",
                        by_engine=not text or text.startswith("OCI runtime"),
                    )
                for chunk in chain([first.removeprefix(_STARTED)], chunks):
                    kept.add(chunk)
                    if chunk and on_output is not None and on_output(chunk):
                        stopped = True
                        break
            if stream.ended:
                code = self._exit_code(exec_id, deadline)
        finally:
            if code is None:
                self._kill()
        return ExecResult(
            exit_code=code,
            output=kept.value(),
            output_bytes=kept.total,
            truncated=kept.truncated,
            timed_out=code is None and not stopped,
            seconds=time.monotonic() - began,
        )

    def _destroyed(self, failure: "NotStartedError") -> bool:
        """Whether commands made the container unable to start one: a result, not a failure."""
        self._kill()
        with engine_errors("inspect the container"):
            state = self._api.inspect_container(self._container)["State"]
        unable = state["ExitCode"] in _CANNOT_EXECUTE  # sleep; 137 when it ran until the kill
        return unable or not failure.by_engine or bool(_NO_SHELL.search(str(failure)))

    def _create(self, argv: list[str], env: Mapping[str, str], stdin: bytes) -> str:
        with engine_errors("prepare a command", NotStartedError):
            created = self._api.exec_create(
                self._container, argv, stdin=bool(stdin), environment=dict(env)
            )
            return str(created["Id"])

    def _exit_code(self, exec_id: str, deadline: float) -> int | None:
        """The exit code of a command whose output has ended; None if it runs on at the deadline."""
        code: int | None = None
        with engine_errors("ask for an exit code"), suppress(NotFound):
            while (state := self._api.exec_inspect(exec_id))["Running"]:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.02)
            code = state["ExitCode"]
        if self._closed:
            raise SandboxFailure("the sandbox was closed while a command ran")
        return _KILLED if code is None else code  # the container ended, and with it the command


def _host(container: OwnContainer | None) -> str:
    """Where process ids mean the same: the machine, or one start of a container of the engine."""
    if container is not None:
        return f"container:{container.id}@{container.started}"
    return f"{socket.gethostname()}:{Path('/proc/self/ns/pid').stat().st_ino}"


def _local(layer: Mapping[str, str]) -> Path | None:
    """The folder of a container's own files, if this process can look into it."""
    try:
        return next(Path(layer["UpperDir"]).parent.glob("diff"), None)
    except (KeyError, OSError):
        return None
