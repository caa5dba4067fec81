"""HTTP on a Unix socket, for clients that may be hostile."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from harness.gateway.options import GatewayOptions
from harness.gateway.wire import bad_request

_SUN_PATH = 107
_BACKLOG = 64
_LINGER_SECONDS = 1.0
_ACCEPT_PAUSE_SECONDS = 0.1
_SHUTDOWN_SECONDS = 0.5

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_silent = logging.Logger("harness.gateway.http", logging.CRITICAL + 1)


class SocketPathError(OSError):
    """A socket's path is longer than the kernel takes."""


class SocketServer:
    """Serves one handler on one socket that any user can connect to.

    Bounds connections, headers and the time for sending them. A handler is cancelled when its
    client leaves.
    """

    def __init__(self, handler: Handler, options: GatewayOptions) -> None:
        self._options = options
        self._http = web.Server(
            handler,
            handler_cancellation=True,
            access_log=None,
            logger=_silent,
            keepalive_timeout=options.request_seconds,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,
        )
        self._listener = socket.socket(socket.AF_UNIX)
        self._accepting: asyncio.Task[None] | None = None

    def start(self, path: Path) -> None:
        """Listen. Raises SocketPathError."""
        try:
            if len(str(path).encode()) > _SUN_PATH:
                raise SocketPathError(
                    f"{path} is longer than the {_SUN_PATH} bytes of a Unix socket's path: "
                    "set SWE_HARNESS_SOCKETS to a short folder"
                )
            self._listener.bind(str(path))
            path.chmod(0o666)
            self._listener.listen(_BACKLOG)
        except OSError:
            self._listener.close()
            raise
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    async def refuse(self) -> None:
        """Take no more connections and requests."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        self._listener.close()
        self._http.pre_shutdown()

    async def close(self) -> None:
        """Close the socket and every connection."""
        await self.refuse()
        await self._http.shutdown(_SHUTDOWN_SECONDS)

    async def _accept(self) -> None:
        """Take connections one by one: the loop's own servers take many before they count them."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
                if len(self._http.connections) < self._options.connections:
                    await loop.connect_accepted_socket(self._http, connection)
                else:
                    connection.close()
            except OSError:  # too many open files, or the client is gone
                await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)


async def read_body(request: web.BaseRequest, options: GatewayOptions) -> bytes:
    """The body of a request. Raises RefusedError when it is too large or too slow."""
    parts, size = [], request.content_length or 0
    too_large = bad_request(
        f"the body is larger than {options.request_bytes} bytes", status=413, code="too_large"
    )
    if size > options.request_bytes:
        raise too_large
    size = 0
    try:
        async with asyncio.timeout(options.request_seconds):
            while part := await request.content.readany():
                parts.append(part)
                size += len(part)
                if size > options.request_bytes:
                    raise too_large
    except TimeoutError:
        message = f"the body did not come within {options.request_seconds:g} s"
        raise bad_request(message, status=408, code="too_slow") from None
    return b"".join(parts)
