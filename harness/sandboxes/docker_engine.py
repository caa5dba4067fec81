"""What docker-py lacks: one kind of error, and the stream of a command with a time limit."""

import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import requests
from docker import APIClient
from docker.errors import APIError, DockerException
from urllib3.exceptions import HTTPError, ReadTimeoutError

from harness.sandboxes.base import MIB, SandboxFailure

_HEADER = struct.Struct(">4xI")  # stream, three zeros, payload size
_GONE = (404, 409)  # no such container; not running, or its removal is under way


class NotStartedError(SandboxFailure):
    """A command did not begin, so that it can be tried again."""

    def __init__(self, text: str, *, by_engine: bool = True) -> None:
        super().__init__(text)
        self.by_engine = by_engine


@contextmanager
def engine_errors(doing: str, kind: type[SandboxFailure] = SandboxFailure) -> Iterator[None]:
    """Turn whatever docker-py raises into one kind of failure that says what was being done."""
    try:
        yield
    except (DockerException, requests.RequestException, HTTPError, OSError) as error:
        raise kind(f"Docker could not {doing}: {error}") from error


def kill(api: APIClient, container: str) -> None:
    """End all processes of a container, if it has any."""
    with engine_errors("kill the container"):
        try:
            api.kill(container)
        except APIError as error:
            if error.status_code not in _GONE:
                raise


def remove(api: APIClient, container: str) -> bool:
    """Remove a container with its processes and volumes; False when it is gone already."""
    with engine_errors("remove the container"):
        try:
            api.remove_container(container, force=True, v=True)
        except APIError as error:
            if error.status_code not in _GONE:
                raise
            return False
        return True


def threads(api: APIClient, container: str) -> int:
    """How many threads a container has, as far as the engine can tell."""
    with engine_errors("count processes"):
        try:
            return len(api.top(container, ps_args="-eLo pid")["Processes"] or ())
        except APIError:
            return 0


def layer_bytes(api: APIClient, container: str) -> int:
    """Sizes of the files that a container has made or changed, as the engine counts them.

    Files that the engine cannot count, as below too deep folders, are without end.
    """
    with engine_errors("measure the container"):
        response = api.get(
            f"{api.base_url}/v{api.api_version}/containers/{container}/json", params={"size": 1}
        )
        response.raise_for_status()
        size = response.json().get("SizeRw", 0)
    return sys.maxsize if size < 0 else int(size)


class ExecStream:
    """The connection to one exec of a container. Raises SandboxFailure when it breaks, and
    NotStartedError when the engine refuses, as it does once the container has ended.

    docker-py's own socket loses what arrives together with the response's headers, and its
    generator cannot be given a time limit.
    """

    def __init__(self, api: APIClient, exec_id: str, stdin: bytes) -> None:
        self.ended = False
        with engine_errors("start a command"):
            self._response = api.post(
                f"{api.base_url}/v{api.api_version}/exec/{exec_id}/start",
                json={"Detach": False, "Tty": False},
                stream=True,
            )
            if not self._response.ok:
                raise NotStartedError(
                    f"Docker could not start a command: {self._response.status_code} "
                    f"{self._response.text.strip()}"
                )
            self._socket = _socket(self._response.raw)
            with suppress(BrokenPipeError, ConnectionResetError):  # not started: see the output
                self._socket.sendall(stdin)

    def chunks(self, deadline: float) -> Iterator[bytes]:
        """The output as it comes, until it ends (`ended`) or `time.monotonic()` is the deadline."""
        pending = bytearray()
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            with engine_errors("read a command's output"):
                try:
                    data = self._response.raw.read1(MIB, decode_content=False)
                except ReadTimeoutError:
                    return
            if not data:
                self.ended = True
                return
            pending += data
            while len(pending) >= _HEADER.size:
                end = _HEADER.size + _HEADER.unpack_from(pending)[0]
                if len(pending) < end:
                    break
                yield bytes(pending[_HEADER.size : end])
                del pending[:end]

    def close(self) -> None:
        """Close the connection; the command goes on."""
        self._response.close()


def _socket(raw: Any) -> socket.socket:
    """The socket below a response; reading past the response loses what it has buffered."""
    found: socket.socket = raw._fp.fp.raw._sock
    return found
