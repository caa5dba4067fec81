"""Connections that a sandbox has opened to us, used in the other direction.

The sandbox can connect to one socket of ours and write no folder of ours, so that no path it
controls is ever opened here. What connects says a key first, that only our launcher has.
"""

import asyncio
import hmac
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from harness.agents.openhands.server_launcher import Streams, join

_WAITING = 8  # connections not in use yet; more are closed
_STRANGERS = 16  # connections that have said no key yet; more are closed
_KEY_SECONDS = 5.0
_WAIT_SECONDS = 10.0


class Tunnel:
    """`inside` is where the sandbox connects to, `outside` where the harness reaches it through.

    Raises OSError when `inside` exists.
    """

    def __init__(self, inside: Path, key: SecretStr) -> None:
        self._inside = inside
        self._key = key.get_secret_value().encode()
        self._waiting: asyncio.Queue[Streams] = asyncio.Queue(_WAITING)
        self._strangers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._held = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as held:
            folder = held.enter_context(tempfile.TemporaryDirectory(prefix="agent-server-"))
            self.outside = Path(folder, "socket")
            for path, accept in ((self._inside, self._accept), (self.outside, self._use)):
                if path.exists():
                    raise FileExistsError(f"{path}: another agent-server is reached by it")
                held.callback(path.unlink, missing_ok=True)
                server = await asyncio.start_unix_server(accept, path)
                held.callback(server.close)
            self._inside.chmod(0o666)  # the sandbox's user is another one
            held.push_async_callback(self._close)
            self._held = held.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._held.aclose()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._strangers < _STRANGERS:
            self._strangers += 1
            self._do(self._meet((reader, writer)))
        else:
            writer.close()

    def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._do(self._carry((reader, writer)))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _meet(self, far: Streams) -> None:
        try:
            async with asyncio.timeout(_KEY_SECONDS):
                said = await far[0].readexactly(len(self._key))
            if not hmac.compare_digest(said, self._key):
                raise ConnectionRefusedError
            self._waiting.put_nowait(far)
        except (OSError, EOFError, asyncio.QueueFull):
            far[1].close()
        except asyncio.CancelledError:
            far[1].close()
            raise
        finally:
            self._strangers -= 1

    async def _carry(self, near: Streams) -> None:
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                far = await self._waiting.get()
                while far[0].at_eof():
                    far[1].close()
                    far = await self._waiting.get()
            await join(near, far)
        except TimeoutError:
            pass  # the client sees that the connection ends
        finally:
            near[1].close()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(asyncio.QueueEmpty):
            while True:
                self._waiting.get_nowait()[1].close()
