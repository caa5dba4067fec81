"""The gateway of a run, for code that knows nothing of its event loop."""

import asyncio
import gc
import os
import resource
import shutil
import tempfile
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from harness.agents.base import GATEWAY_SOCKET, Endpoint
from harness.gateway.calls import CallWriter, warm_up
from harness.gateway.door import AttemptDoor
from harness.gateway.exchange import Line
from harness.gateway.options import GatewayOptions
from harness.gateway.replay import Recording, ReplayedAnswers
from harness.gateway.report import DoorReport
from harness.gateway.retokenise import Retokeniser
from harness.gateway.upstream import Upstream
from harness.gateway.wire import Extras
from harness.records import Budget

T = TypeVar("T")

SOCKETS_VARIABLE = "SWE_HARNESS_SOCKETS"
BASE_URL = "http://gateway/v1"

_OPEN_FILES = 16384
_WAIT_SECONDS = 120.0


class Gateway:
    """The only way from agents to the model: one thread that serves all attempts of a run.

    A context manager; `open` may be called from several threads.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: GatewayOptions | None = None,
        *,
        sockets: Path | None = None,
    ) -> None:
        """`sockets`: where folders of sockets are made, a short path (a Unix socket's may have 107
        bytes); default: $SWE_HARNESS_SOCKETS, else the folder for temporary files."""
        self._endpoint = endpoint
        self._options = options or GatewayOptions()
        variable = os.environ.get(SOCKETS_VARIABLE)
        self._sockets = sockets or (Path(variable) if variable else None)
        self._numbers = count(1)
        self._doors: set[Door] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        _allow_open_files()
        if self._sockets is not None:
            self._sockets.mkdir(parents=True, exist_ok=True)
        # mkdtemp lets other users of this machine through to nothing in it.
        self._root = Path(tempfile.mkdtemp(prefix="gw-", dir=self._sockets)).absolute()
        self._records = ThreadPoolExecutor(1, thread_name_prefix="gateway-records")
        self._records.submit(_prepare)
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="gateway", daemon=True
        )
        self._thread.start()
        started.result(_WAIT_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            doors = list(self._doors)
        for door in doors:
            door.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._records.shutdown()
        gc.unfreeze()
        shutil.rmtree(self._root, ignore_errors=True)

    def open(
        self,
        *,
        budget: Budget,
        seed: int,
        calls: Path,
        purposes: frozenset[str] = frozenset(),
        recording: Recording | None = None,
    ) -> "Door":
        """Serve the model to one attempt; `calls` is where its record is written.

        A call whose header names one of `purposes` is no turn of the agent. What is in `recording`
        is answered from there.

        Raises OSError when the socket cannot be made.
        """
        folder = self._root / str(next(self._numbers))
        folder.mkdir()
        folder.chmod(0o755)
        socket = folder / Path(GATEWAY_SOCKET).name
        try:
            attempt = self._run(self._open(socket, budget, seed, calls, purposes, recording))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        door = Door(self, attempt, folder, self._endpoint_at(socket))
        with self._lock:
            self._doors.add(door)
        return door

    def _close(self, door: "Door", attempt: AttemptDoor) -> DoorReport:
        try:
            return self._run(attempt.close())
        finally:
            shutil.rmtree(door.folder, ignore_errors=True)
            with self._lock:
                self._doors.discard(door)

    def _endpoint_at(self, socket: Path) -> Endpoint:
        return Endpoint(
            base_url=BASE_URL,
            model=self._endpoint.model,
            socket=socket,
            decoding=self._endpoint.decoding,
        )

    async def _open(
        self,
        socket: Path,
        budget: Budget,
        seed: int,
        calls: Path,
        purposes: frozenset[str],
        recording: Recording | None,
    ) -> AttemptDoor:
        line = self._line
        if recording is not None:
            answers = ReplayedAnswers(recording, line.upstream, seed=seed)
            line = replace(line, upstream=answers)
        attempt = AttemptDoor(
            line,
            self._retokeniser,
            CallWriter(calls, self._records),
            budget=budget,
            seed=seed,
            purposes=purposes,
        )
        attempt.open(socket)
        return attempt

    async def _serve(self, started: "Future[None]") -> None:
        try:
            self._loop = asyncio.get_running_loop()
            self._stop = asyncio.Event()
            upstream = Upstream(self._endpoint, self._options)
            extras = Extras(self._options.token_ids)
            self._line = Line(self._endpoint, self._options, upstream, extras)
            self._retokeniser = Retokeniser(upstream)
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self._stop.wait()
        await upstream.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT_SECONDS)


class Door:
    """One attempt's way to the model. A context manager; closed at the end of its block.

    folder: holds the socket alone, for a sandbox to see at `GATEWAY_FOLDER`.
    endpoint: the model through this door, for clients on this machine; without a key.
    """

    def __init__(
        self, gateway: Gateway, attempt: AttemptDoor, folder: Path, endpoint: Endpoint
    ) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self._gateway = gateway
        self._attempt = attempt
        self._lock = threading.Lock()
        self._report: DoorReport | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> DoorReport:
        """Cancel calls in flight and finish the record. Every later call gives the same."""
        with self._lock:
            if self._report is None:
                self._report = self._gateway._close(self, self._attempt)
            return self._report


def _prepare() -> None:
    """Do in advance what would make calls wait: imports, and the garbage collector's walk over all
    that they made, which takes up to a tenth of a second each time."""
    warm_up()
    gc.collect()
    gc.freeze()


def _allow_open_files() -> None:
    """Let the process have as many sockets as many attempts at once need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
