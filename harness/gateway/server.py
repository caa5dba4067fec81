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
        self._listener: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Listen. Raises SocketPathError."""
        if len(str(path).encode()) > _SUN_PATH:
            raise SocketPathError(
                f"{path} is longer than the {_SUN_PATH} bytes of a Unix socket's path: "
                "set SWE_HARNESS_SOCKETS to a short folder"
            )
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o666)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_unix_server(
            self._connection, sock=listener, backlog=_BACKLOG
        )

    def refuse(self) -> None:
        """Take no more connections and requests."""
        if self._listener is not None:
            self._listener.close()
        self._http.pre_shutdown()

    async def close(self) -> None:
        """Close the socket and every connection."""
        self.refuse()
        await self._http.shutdown(_SHUTDOWN_SECONDS)

    def _connection(self) -> asyncio.BaseProtocol:
        if len(self._http.connections) >= self._options.connections:
            return _Refusing()
        return self._http()


class _Refusing(asyncio.Protocol):
    """Closes a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


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
