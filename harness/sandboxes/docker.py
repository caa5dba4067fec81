"""Sandboxes that are Docker containers."""

import os
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path

import docker
from docker.errors import ImageNotFound, NotFound
from docker.types import Ulimit

from harness.sandboxes.base import (
    MIB,
    Bind,
    ExecResult,
    ImageMissingError,
    Limits,
    SandboxFailure,
)
from harness.sandboxes.docker_engine import ExecStream, engine_errors, kill, remove, threads
from harness.sandboxes.host import lives, process_token
from harness.sandboxes.output import HeadTail
from harness.sandboxes.shell import OnOutput, ShellSandbox, refused

LABEL = "swe-harness"
_REQUEST_SECONDS = 120
_MAX_FILE_BYTES = 4096 * MIB
_CPU_PERIOD = 100_000  # microseconds
# Tests run as root on trees whose files have other owners.
_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
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
        with engine_errors(f"create a container of {image}"):
            container = self._api.create_container(
                digest,
                entrypoint=["sleep", "infinity"],
                hostname="sandbox",
                host_config=self._host_config(limits, network=network, binds=binds),
                labels={
                    LABEL: "1",
                    f"{LABEL}.owner": owner,
                    f"{LABEL}.host": _host(),
                    f"{LABEL}.process": process_token(os.getpid()),
                },
            )["Id"]
        sandbox = DockerSandbox(self._api, container, digest, limits)
        try:
            sandbox.start()
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def cleanup(self, owner: str | None = None) -> int:
        """See `SandboxProvider.cleanup`: the containers that this host's dead processes made."""
        labels = [f"{LABEL}.process", f"{LABEL}.host={_host()}"]
        if owner is not None:
            labels.append(f"{LABEL}.owner={owner}")
        with engine_errors("list containers"):
            found = self._api.containers(all=True, filters={"label": labels})
        left = [each["Id"] for each in found if not lives(each["Labels"][f"{LABEL}.process"])]
        return sum(remove(self._api, container) for container in left)

    def _host_config(
        self, limits: Limits, *, network: bool, binds: Sequence[Bind]
    ) -> dict[str, object]:
        return self._api.create_host_config(
            binds=[f"{b.source}:{b.target}:{'rw' if b.writable else 'ro'}" for b in binds],
            init=True,
            network_mode="bridge" if network else "none",
            extra_hosts={"sandbox": "127.0.0.1"},
            cap_drop=["ALL"],
            cap_add=_CAPABILITIES,
            security_opt=["no-new-privileges"],
            pids_limit=limits.pids,
            mem_limit=limits.memory_bytes,
            memswap_limit=limits.memory_bytes,
            cpu_period=_CPU_PERIOD if limits.cpus else None,
            cpu_quota=int(limits.cpus * _CPU_PERIOD) if limits.cpus else None,
            shm_size=limits.memory_bytes // 8,
            ulimits=[
                Ulimit(name="core", soft=0, hard=0),
                Ulimit(name="fsize", soft=_MAX_FILE_BYTES, hard=_MAX_FILE_BYTES),
            ],
        )


class DockerSandbox(ShellSandbox):
    """One container.

    A command that is killed takes all processes of the container with it; the files stay, and the
    next command finds the container started again. The same helps when a command's leftovers let
    no other start, as a fork bomb's do.
    """

    def __init__(self, api: docker.APIClient, container: str, digest: str, limits: Limits) -> None:
        super().__init__(digest, limits)
        self._api = api
        self._container = container
        self._state = threading.Lock()
        self._running = False
        self._closed = False

    def start(self) -> None:
        """Start the container unless it runs."""
        with self._state:
            if self._closed:
                raise SandboxFailure("the sandbox is closed")
            if not self._running:
                with engine_errors("start the container", _NotStartedError):
                    self._api.start(self._container)
                self._running = True

    def close(self) -> None:
        """See `Sandbox.close`."""
        with self._state:
            self._closed = True
            remove(self._api, self._container)

    def _kill(self) -> None:
        with self._state:
            kill(self._api, self._container)
            self._running = False

    def _settle(self) -> None:
        """End what a command left running when it takes so many processes as to hinder the next."""
        if self._running and threads(self._api, self._container) > self._limits.pids // 2:
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
        except _NotStartedError:
            self._kill()
        try:
            return self._attempt(argv, timeout, env, stdin, on_output, HeadTail(keep))
        except _NotStartedError as failure:
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
                    raise _NotStartedError(str(failure)) from failure
                if not first.startswith(_STARTED) and (first or stream.ended):
                    text = first.decode(errors="replace").strip()
                    raise _NotStartedError(
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

    def _destroyed(self, failure: "_NotStartedError") -> bool:
        """Whether commands made the container unable to start one: a result, not a failure."""
        self._kill()
        with engine_errors("inspect the container"):
            state = self._api.inspect_container(self._container)["State"]
        unable = state["ExitCode"] in _CANNOT_EXECUTE  # sleep; 137 when it ran until the kill
        return unable or not failure.by_engine or bool(_NO_SHELL.search(str(failure)))

    def _create(self, argv: list[str], env: Mapping[str, str], stdin: bytes) -> str:
        with engine_errors("prepare a command", _NotStartedError):
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


def _host() -> str:
    """Where process ids mean the same: the machine, or the container that the harness is in."""
    return f"{socket.gethostname()}:{Path('/proc/self/ns/pid').stat().st_ino}"


class _NotStartedError(SandboxFailure):
    """A command did not begin, so that it can be tried again."""

    def __init__(self, text: str, *, by_engine: bool = True) -> None:
        super().__init__(text)
        self.by_engine = by_engine
