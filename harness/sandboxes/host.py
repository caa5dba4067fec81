"""What the host's /proc tells: which processes live, and what a tree of them holds."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def process_token(pid: int) -> str:
    """A name for a process that no later process with the same id has: id and start time.

    Raises ProcessLookupError when there is no such process.
    """
    return f"{pid}-{_stat(pid)[19]}"


def lives(token: str) -> bool:
    """Whether the process of a token still runs."""
    try:
        return process_token(int(token.partition("-")[0])) == token
    except (ProcessLookupError, ValueError):
        return False


def tree_memory(root: int, limit: int) -> int:
    """Bytes of memory of a process and its descendants.

    Pages shared between them count once, but that sum is costly, and only made when the plain one
    is over `limit`.
    """
    resident = _resident(root)
    total = sum(resident.values())
    return total if total <= limit else sum(_own_share(pid, resident[pid]) for pid in resident)


def tree(root: int) -> list[int]:
    """Ids of a process and its descendants."""
    return list(_resident(root))


def container_processes(pid: int, container: str) -> list[int]:
    """Ids of the processes that share a pid namespace with the first process of a container.

    None when that process is not of this machine, as far as its control group tells.
    """
    with suppress(OSError):
        if container in Path(_PROC, str(pid), "cgroup").read_text():
            namespace = Path(_PROC, str(pid), "ns/pid").readlink()
            return [each for each in _pids() if _namespace(each) == namespace]
    return []


def processes_with_argument(program: str, part: str) -> Iterator[int]:
    """Ids of the processes of a program that have `part` in their arguments."""
    for pid in _pids():
        try:
            arguments = Path(_PROC, str(pid), "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if arguments.split("\0")[0].endswith(program) and part in arguments:
            yield pid


def processes_with_mount(part: str) -> Iterator[int]:
    """Ids of the processes that have a mount with `part` in its source."""
    for pid in _pids():
        with suppress(OSError):
            if part in Path(_PROC, str(pid), "mountinfo").read_text(errors="replace"):
                yield pid


def _resident(root: int) -> dict[int, int]:
    """Bytes of memory by process, of a process and its descendants."""
    children: dict[int, list[int]] = defaultdict(list)
    resident: dict[int, int] = {}
    for pid in _pids():
        try:
            stat = _stat(pid)
        except ProcessLookupError:
            continue
        children[int(stat[1])].append(pid)
        resident[pid] = int(stat[21]) * _PAGE
    found = [root]
    for pid in found:
        found += children[pid]
    return {pid: resident.get(pid, 0) for pid in found}


def _namespace(pid: int) -> Path | None:
    with suppress(OSError):
        return Path(_PROC, str(pid), "ns/pid").readlink()
    return None


def _pids() -> list[int]:
    return [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on."""
    try:
        return Path(_PROC, str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None


def _own_share(pid: int, otherwise: int) -> int:
    try:
        rollup = Path(_PROC, str(pid), "smaps_rollup").read_text()
    except OSError:
        return otherwise
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else otherwise
