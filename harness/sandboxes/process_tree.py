"""A command in a pid namespace of its own: watched, read, and ended with all its descendants."""

import json
import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from enum import Enum, auto
from pathlib import Path
from typing import IO

from harness.sandboxes.base import SandboxFailure
from harness.sandboxes.bubblewrap import PATH
from harness.sandboxes.host import tree, tree_memory
from harness.sandboxes.output import HeadTail

_PIPE_BYTES = 64 * 1024
_MEMORY_INTERVAL = 0.25
_DYING_SECONDS = 30.0


class End(Enum):
    """Why a tree ended."""

    EXIT = auto()
    TIME_LIMIT = auto()
    STOPPED = auto()
    MEMORY_LIMIT = auto()


class ProcessTree:
    """bwrap and everything below it. It dies with the thread that started it."""

    def __init__(self, bwrap: Sequence[str], stdin: bytes, seccomp: bytes) -> None:
        with ExitStack() as undo:
            status, status_end = os.pipe()
            self._status = undo.enter_context(os.fdopen(status, "rb"))
            with os.fdopen(status_end, "wb"), _file(stdin) as source, _file(seccomp) as rules:
                options = ["--json-status-fd", str(status_end)]
                options += ["--seccomp", str(rules.fileno())] if seccomp else []
                self._bwrap = subprocess.Popen(
                    [bwrap[0], *options, *bwrap[1:]],
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env={"PATH": PATH},
                    pass_fds=(status_end, rules.fileno()),
                    bufsize=0,
                )
            undo.callback(self._bwrap.wait)
            undo.callback(self._bwrap.kill)
            assert self._bwrap.stdout is not None
            self._output = undo.enter_context(self._bwrap.stdout)
            self._exit = os.pidfd_open(self._bwrap.pid)
            undo.callback(os.close, self._exit)
            self._init = self._open_init()
            undo.pop_all()

    def follow(
        self,
        deadline: float,
        memory_bytes: int,
        kept: HeadTail,
        on_output: Callable[[bytes], bool] | None,
    ) -> End:
        """Read the output until the command has ended or must end."""
        next_look = time.monotonic() + _MEMORY_INTERVAL
        with selectors.DefaultSelector() as selector:
            selector.register(self._exit, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            while (now := time.monotonic()) < deadline:
                if now >= next_look:
                    if tree_memory(self._bwrap.pid, memory_bytes) > memory_bytes:
                        return End.MEMORY_LIMIT
                    next_look = now + _MEMORY_INTERVAL
                ready = [key.fileobj for key, _ in selector.select(min(deadline, next_look) - now)]
                if self._output in ready:
                    chunk = os.read(self._output.fileno(), _PIPE_BYTES)
                    kept.add(chunk)
                    if not chunk:
                        selector.unregister(self._output)
                    elif on_output is not None and on_output(chunk):
                        return End.STOPPED
                elif ready:
                    return End.EXIT
        return End.TIME_LIMIT

    def pids(self) -> list[int]:
        """Of everything in the tree."""
        return tree(self._bwrap.pid)

    def kill(self) -> None:
        """Have everything killed; safe from any thread until `close`."""
        if self._init is None:
            self._bwrap.kill()
        else:  # bwrap follows; the other way round, an init in its first moments would be missed
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init, signal.SIGKILL)

    def end(self) -> None:
        """Kill everything and wait until all of it is gone.

        The init of a namespace ends only after every other process of it.
        """
        self.kill()
        try:
            self._bwrap.wait(_DYING_SECONDS)
        except subprocess.TimeoutExpired:
            self._bwrap.kill()
            raise SandboxFailure(f"bubblewrap lives on {_DYING_SECONDS:.0f} s later") from None
        if self._init is not None:
            poll = select.poll()
            poll.register(self._init, select.POLLIN)
            if not poll.poll(_DYING_SECONDS * 1000):
                raise SandboxFailure(f"killed processes live on {_DYING_SECONDS:.0f} s later")
            with suppress(ChildProcessError):  # an orphan: ours if we are the first process
                os.waitid(os.P_PIDFD, self._init, os.WEXITED)

    def rest(self) -> Iterator[bytes]:
        """What was written and not read when the tree ended."""
        os.set_blocking(self._output.fileno(), False)
        with suppress(BlockingIOError):
            while chunk := os.read(self._output.fileno(), _PIPE_BYTES):
                yield chunk

    def exit_code(self) -> int | None:
        """Of an ended tree's command; None when it was killed or never began."""
        for line in self._status:
            code = json.loads(line).get("exit-code")
            if code is not None:
                return int(code)
        return None

    def close(self) -> None:
        """Free the descriptors of an ended tree."""
        self._status.close()
        self._output.close()
        for descriptor in (self._exit, self._init):
            if descriptor is not None:
                os.close(descriptor)

    def _open_init(self) -> int | None:
        """A descriptor of the pid namespace's init, once bwrap has told its id."""
        first = self._status.readline()
        try:
            return os.pidfd_open(json.loads(first)["child-pid"]) if first else None
        except ProcessLookupError:
            return None


def _file(data: bytes) -> IO[bytes]:
    if not data:
        return Path(os.devnull).open("rb")
    file = os.fdopen(os.memfd_create("harness"), "w+b")
    file.write(data)
    file.seek(0)
    return file
