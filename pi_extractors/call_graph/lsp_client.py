"""A language server over stdio: framing, requests with time limits, and its certain end."""

import contextlib
import json
import os
import re
import resource
import select
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Encoding = Literal["utf-16", "utf-32"]

_LENGTH = re.compile(rb"^content-length: *([0-9]{1,10}) *\r?$", re.IGNORECASE | re.MULTILINE)
_MAX_HEADER = 4096
_MAX_BODY = 32 * 1024 * 1024
_READ = 1 << 16
_UNITS: dict[Encoding, tuple[str, int]] = {
    "utf-16": ("utf-16-le", 2),
    "utf-32": ("utf-32-le", 4),
}


class ServerFailedError(RuntimeError):
    """The server is of no further use: it hangs, ended, or does not speak the protocol."""


class ServerTimeoutError(ServerFailedError, TimeoutError):
    """No answer in time."""


class RequestRefusedError(RuntimeError):
    """The server answered a request with an error; it can be asked further."""


class LanguageServer:
    """One server process, in a session and process group of its own, that is killed at the end.

    Every wait is bounded; what the server sends is read as hostile. `command` runs with an
    environment of `env` alone, in the folder `home`, with at most `memory` bytes of address space.
    """

    def __init__(
        self,
        command: Sequence[str],
        home: Path,
        env: Mapping[str, str],
        *,
        memory: int,
    ) -> None:
        """Start the process. Raises ServerFailedError when that is not possible."""
        try:
            process = subprocess.Popen(
                command,
                cwd=home,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise ServerFailedError(f"cannot be started: {error}") from None
        assert process.stdin is not None
        assert process.stdout is not None
        self._end = weakref.finalize(self, _kill, process)
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._buffer = bytearray()
        self._last_id = 0
        self.encoding: Encoding = "utf-16"
        if hasattr(resource, "prlimit"):
            resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))

    def initialize(self, root: Path, options: Mapping[str, Any], seconds: float) -> None:
        """The protocol's handshake about a workspace. Raises ServerFailedError."""
        deadline = time.monotonic() + seconds
        uri = root.as_uri()
        parameters = {
            "processId": os.getpid(),
            "rootUri": uri,
            "workspaceFolders": [{"uri": uri, "name": root.name}],
            "capabilities": {"general": {"positionEncodings": ["utf-32", "utf-16"]}},
            "initializationOptions": options,
        }
        try:
            answer = self.request("initialize", parameters, seconds)
        except RequestRefusedError as error:
            raise ServerFailedError(f"refuses to start: {error}") from None
        capabilities = answer.get("capabilities") if isinstance(answer, dict) else None
        if isinstance(capabilities, dict):
            chosen = capabilities.get("positionEncoding", "utf-16")
            if chosen not in ("utf-16", "utf-32"):
                raise ServerFailedError("chose a position encoding that was not offered")
            self.encoding = chosen
        self._send({"method": "initialized", "params": {}}, deadline)

    def notify(self, method: str, params: Mapping[str, Any], seconds: float) -> None:
        """Send a notification. Raises ServerFailedError."""
        self._send({"method": method, "params": params}, time.monotonic() + seconds)

    def request(self, method: str, params: Mapping[str, Any], seconds: float) -> Any:
        """The result of a request. Raises RequestRefusedError, or ServerFailedError."""
        deadline = time.monotonic() + seconds
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params}, deadline)
        while True:
            message = self._receive(deadline)
            if "method" in message:
                if "id" in message:
                    self._send({"id": message["id"], "result": None}, deadline)
            elif message.get("id") == self._last_id:
                if message.get("error") is not None:
                    raise RequestRefusedError(str(message["error"])[:200])
                return message.get("result")

    def close(self) -> None:
        """Kill the process group; may be called twice."""
        self._end()

    def _send(self, message: dict[str, Any], deadline: float) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        rest = memoryview(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        while rest:
            ready = self._wait(deadline, self._in)
            if self._out in ready:
                self._fill()
            if self._in in ready:
                try:
                    rest = rest[os.write(self._in, rest) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise ServerFailedError("ended unexpectedly") from None

    def _receive(self, deadline: float) -> dict[str, Any]:
        while (head := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MAX_HEADER:
                raise ServerFailedError("sent no message header")
            self._wait(deadline)
            self._fill()
        if head > _MAX_HEADER:
            raise ServerFailedError("sent no message header")
        length = _LENGTH.search(bytes(self._buffer[:head]))
        if length is None or int(length[1]) > _MAX_BODY:
            raise ServerFailedError("sent a malformed message header")
        start, end = head + 4, head + 4 + int(length[1])
        while len(self._buffer) < end:
            self._wait(deadline)
            self._fill()
        body = bytes(self._buffer[start:end])
        del self._buffer[:end]
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            raise ServerFailedError("sent a message that is no JSON") from None
        if not isinstance(message, dict):
            raise ServerFailedError("sent a message that is no JSON object")
        return message

    def _fill(self) -> None:
        try:
            chunk = os.read(self._out, _READ)
        except BlockingIOError:
            return
        if not chunk:
            raise ServerFailedError("ended unexpectedly")
        self._buffer += chunk
        if len(self._buffer) > 2 * _MAX_BODY:
            raise ServerFailedError("sends without end")

    def _wait(self, deadline: float, writer: int | None = None) -> set[int]:
        """The file descriptors that are ready, of the server's output and what is to be written."""
        left = deadline - time.monotonic()
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        if writer is not None:
            poll.register(writer, select.POLLOUT)
        ready = {file for file, _ in poll.poll(left * 1000)} if left > 0 else set()
        if not ready:
            raise ServerTimeoutError("gave no answer in time")
        return ready


def units(text: str, encoding: Encoding) -> int:
    """The length of a text in a position encoding's units."""
    codec, width = _UNITS[encoding]
    return len(text.encode(codec, "surrogatepass")) // width


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The group goes before its leader is reaped: until then nobody else can have its number."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()
    process.wait()
