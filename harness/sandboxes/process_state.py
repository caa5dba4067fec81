"""What a process sandbox takes from the machine, and how it is given back after a crash.

A sandbox holds its folder by a file lock and its user by an abstract socket. The kernel frees both
with the process that holds them, so that nobody has to guess from process ids who still lives.
"""

import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import quote, unquote

from harness.sandboxes.base import SandboxFailure
from harness.sandboxes.bubblewrap import User
from harness.sandboxes.host import processes_with_argument, processes_with_mount

_FIRST_UID, _UIDS = 70_000, 30_000  # above system users, below the usual subordinate ids


def claim_user(held: ExitStack) -> User:
    """The user of a sandbox, while something is held; as root one that no other sandbox has."""
    if os.geteuid() != 0:
        return User(os.getuid(), os.getgid(), own=False)
    claim = held.enter_context(socket.socket(socket.AF_UNIX))
    first = random.randrange(_UIDS)  # noqa: S311
    for number in range(_UIDS):
        uid = _FIRST_UID + (first + number) % _UIDS
        with suppress(OSError):
            claim.bind(f"\0swe-harness-user-{uid}")
            return User(uid, uid, own=True)
    raise SandboxFailure(f"all {_UIDS:,} users for sandboxes are taken")


def claim_folder(state: Path, owner: str) -> tuple[Path, int]:
    """A new folder that only we can enter, and the descriptor of its lock."""
    new = Path(tempfile.mkdtemp(prefix=".", dir=state))  # not seen by `abandoned` until locked
    lock = os.open(new, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return new.rename(state / f"{quote(owner, safe='')}+{new.name[1:]}"), lock


def abandoned(state: Path, owner: str | None) -> Iterator[Path]:
    """The folders (of one owner, or all) whose holder is gone; each is locked while it is used."""
    for folder in state.iterdir():
        whose, mark, _ = folder.name.partition("+")
        if not mark or whose.startswith(".") or owner not in (None, unquote(whose)):
            continue
        with suppress(OSError):  # held, or removed by another cleanup
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield folder
            finally:
                os.close(lock)


def end_processes(folder: Path) -> None:
    """Kill what runs in the sandbox of a folder, or is about to."""
    name = folder.name
    while pids := [*processes_with_argument("bwrap", name), *processes_with_mount(name)]:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def give(trees: Sequence[Path], user: User) -> None:
    """Make a user of our own the owner of trees."""
    if user.own:
        host_command(["chown", "-hR", f"{user.uid}:{user.gid}", "--", *map(str, trees)])


def remove(folder: Path) -> None:
    """Remove a tree, however deep and closed; what is gone already is no error."""
    # rm, unlike shutil.rmtree, has no limit of depth.
    if subprocess.run(["rm", "-rf", "--", str(folder)], capture_output=True).returncode:
        subprocess.run(["chmod", "-R", "u+rwX", "--", str(folder)], capture_output=True)
        host_command(["rm", "-rf", "--", str(folder)])


def host_command(command: Sequence[str]) -> None:
    """Run a command of the host. Raises SandboxFailure with what it says."""
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        error = done.stderr.decode(errors="replace").strip()
        raise SandboxFailure(f"{command[0]} failed: {error}")
