"""What a sandbox has written to a disk, and the watch that ends it at its limit."""

import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.sandboxes.base import MIB, SandboxFailure

# File systems have a number of inodes too: ext4 makes one for so many bytes.
INODE_BYTES = 16 * 1024
_INTERVAL = 0.2
_BLIND_INTERVAL = 1.0  # without a look at the free space, each look costs a walk
_WALK_INTERVAL = 10.0
_IDLE_SHARE = 10  # of the time that a measurement took
_WALK_SECONDS = 30.0
_RESERVE_BYTES = 1024 * MIB
_SLACK_BYTES = 256 * MIB  # for what the harness itself still does in a full sandbox
_BLOCK = 512
_DELETED = re.compile(r"^0*([0-9a-f]+)-0*([0-9a-f]+) .* \(deleted\)$", re.MULTILINE)


class DiskWatch:
    """Looks at what a sandbox has written while something runs in it, and kills at the limit.

    Where `place` tells a path on the sandbox's disk, it looks at the free space five times a
    second, and measures only when the sandbox could have reached its limit: a fast writer
    overshoots by what the disk takes in 0.2 s and one measurement. Where not, it measures once a
    second. Measurements take at most a tenth of the time. Below 1 GiB of free space all sandboxes
    of the disk end with a failure, whoever filled it.
    """

    def __init__(
        self,
        limit: int,
        *,
        measure: Callable[[], int],
        kill: Callable[[], None],
        place: Callable[[], Path | None],
    ) -> None:
        self.over = ""
        self.left_running = False
        self._stated = self._limit = limit
        self._measure = measure
        self._kill = kill
        self._find_place = place
        self._place: Path | None = None
        self._failure = ""
        self._free = (0, 0)
        self._used = 0
        self._measured = time.monotonic()
        self._active = 0
        self._ran = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While a command runs. Raises SandboxFailure when the disk is full."""
        with self._lock:
            self._active += 1
            self._ran = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1
            if self._failure:
                raise SandboxFailure(self._failure)

    def close(self) -> None:
        """End the watch. Safe to call twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        with suppress(SandboxFailure, OSError):
            self._place = self._find_place()
            self._free = _free_bytes(self._place) if self._place else (0, 0)
        interval = _INTERVAL if self._place else _BLIND_INTERVAL
        pause = interval
        while not self._stop.wait(pause):
            began = time.monotonic()
            with self._lock:
                ran, self._ran = self._ran, self._active > 0 or self.left_running
            if ran:
                with suppress(SandboxFailure, OSError):  # being closed, or the engine is away
                    self._look()
            pause = max(interval, _IDLE_SHARE * (time.monotonic() - began))

    def _look(self) -> None:
        now = time.monotonic()
        if self._place:
            free = _free_bytes(self._place)
            if min(free) < _RESERVE_BYTES:
                self._failure = (
                    f"the disk of the sandboxes ({self._place}) is full:"
                    f" room for {free[0]:,} bytes and {free[1] // INODE_BYTES:,} files"
                )
                self._kill()
            taken = sum(
                max(0, before - after) for before, after in zip(self._free, free, strict=True)
            )
            recent = now - self._measured < _WALK_INTERVAL
            if recent and taken < self._limit - self._used:
                return
            self._free = free
        self._used, self._measured = self._measure(), now
        if self._used > self._limit:
            self.over = (
                f"the sandbox was ended: it wrote more than its limit of {self._stated:,} bytes"
                " to the disk"
            )
            self._limit = self._used + _SLACK_BYTES
            self._kill()


def tree_bytes(folders: Sequence[Path]) -> int:
    """What the trees take of a disk: blocks and inodes, holes not counted.

    A tree that cannot be walked in 30 s counts as endless. Raises SandboxFailure.
    """
    total = 0
    for unit, value in (("--block-size=1", 1), ("--inodes", INODE_BYTES)):
        command = ["du", "--summarize", "--total", "--one-file-system", unit, "--"]
        try:
            # Its status says only that files came and went.
            done = subprocess.run(
                [*command, *map(str, folders)], capture_output=True, timeout=_WALK_SECONDS
            )
        except subprocess.TimeoutExpired:
            return sys.maxsize
        count = done.stdout.rpartition(b"\n")[0].rpartition(b"\n")[2].partition(b"\t")[0]
        if not count.isdigit():
            raise SandboxFailure(f"du failed: {done.stderr.decode(errors='replace').strip()}")
        total += int(count) * value
    return total


def deleted_bytes(pids: Iterable[int]) -> int:
    """What deleted files take that processes still hold, open or mapped.

    Files in memory are left out. Only processes that this one may look into are seen.
    """
    held: dict[tuple[int, int], int] = {}
    for pid in pids:
        process = Path("/proc", str(pid))
        with suppress(OSError):
            files = list((process / "fd").iterdir())
            for start, end in _DELETED.findall((process / "maps").read_text(errors="replace")):
                files.append(process / "map_files" / f"{start}-{end}")
            for file in files:
                with suppress(OSError):
                    found = file.stat()
                    if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                        held[found.st_dev, found.st_ino] = found.st_blocks * _BLOCK
    memory = _memory_device()
    return sum(size for (device, _), size in held.items() if device != memory)


def _memory_device() -> int:
    """Where the kernel keeps files without a name in any file system."""
    descriptor = os.memfd_create("harness")
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def _free_bytes(place: Path) -> tuple[int, int]:
    """Free blocks and inodes. Some file systems make inodes as they go, and name no number."""
    found = os.statvfs(place)
    inodes = found.f_favail if found.f_files else sys.maxsize // INODE_BYTES
    return found.f_bavail * found.f_frsize, inodes * INODE_BYTES
