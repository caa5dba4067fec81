"""Sandboxes that are process trees, isolated by bubblewrap: no engine, no image store."""

import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

from harness.records.cache import cache_root
from harness.sandboxes import seccomp
from harness.sandboxes.base import ExecResult, ImageMissingError, Limits, SandboxFailure
from harness.sandboxes.bubblewrap import HOME, PATH, User, bind, unprivileged, view
from harness.sandboxes.host import (
    lives,
    process_token,
    processes_with_argument,
    processes_with_mount,
)
from harness.sandboxes.output import HeadTail
from harness.sandboxes.process_image import Mount, ProcessImage
from harness.sandboxes.process_tree import End, ProcessTree
from harness.sandboxes.shell import OnOutput, ShellSandbox

__all__ = ["Mount", "ProcessImage", "ProcessProvider", "ProcessSandbox"]

_FIRST_UID, _UIDS = 70_000, 30_000  # above system users, below the usual subordinate ids
_CLOSING_SECONDS = 60.0
_KILLED = 137


class ProcessProvider:
    """Sandboxes whose files are below the `state` folder. Safe to use from several threads.

    Where a sandbox of Docker has control groups, this has a user of its own for each sandbox (the
    limit of processes), a look at the memory four times a second (over the limit: 137), whole
    cores, and no limit of the disk but 4 GiB a file. Raises SandboxFailure when this machine
    cannot run bubblewrap.
    """

    kind = "process"

    def __init__(self, state: Path | None = None) -> None:
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise SandboxFailure("bubblewrap is missing: apt-get install bubblewrap")
        self._bwrap = bwrap
        self._state = state or cache_root() / "sandboxes"
        self._state.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count()
        self._check()

    def digest(self, image: str) -> str:
        """See `SandboxProvider.digest`: what `image.json` says."""
        return ProcessImage.load(Path(image)).digest

    def start(
        self, image: str, *, limits: Limits, owner: str, network: bool = False
    ) -> "ProcessSandbox":
        """See `SandboxProvider.start`. `image` is the absolute path of the image's folder."""
        image_folder = Path(image)
        return self._start(
            ProcessImage.load(image_folder),
            image_folder,
            limits=limits,
            owner=owner,
            network=network,
        )

    def cleanup(self, owner: str | None = None) -> int:
        """See `SandboxProvider.cleanup`."""
        removed = 0
        for folder in self._state.iterdir():
            whose, _, rest = folder.name.partition("+")
            token, _, name = rest.partition("+")
            if not name or lives(token) or (owner is not None and owner != unquote(whose)):
                continue
            mine = folder.with_name(f"{whose}+{process_token(os.getpid())}+{name}")
            _kill_all(folder.name)
            with suppress(FileNotFoundError):  # another process cleans up, too
                folder.rename(mine)
                _remove(mine)
                removed += 1
        return removed

    def _start(
        self, image: ProcessImage, folder: Path, *, limits: Limits, owner: str, network: bool
    ) -> "ProcessSandbox":
        whose = f"{quote(owner, safe='')}+{process_token(os.getpid())}+"
        sandbox = ProcessSandbox(
            self._bwrap,
            image,
            Path(tempfile.mkdtemp(prefix=whose, dir=self._state)),
            limits,
            cpu=next(self._numbers),
        )
        try:
            sandbox.prepare(folder, network=network)
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def _check(self) -> None:
        empty = ProcessImage(digest="sha256:" + "0" * 64, mounts=())
        with self._start(
            empty, self._state, limits=Limits(), owner="check", network=False
        ) as sandbox:
            result = sandbox.exec(["true"], timeout=30, cwd="/")
        if result.exit_code != 0:
            raise SandboxFailure(f"bubblewrap runs no command here: {result.text.strip()}")


class ProcessSandbox(ShellSandbox):
    """One folder of private files, and a bubblewrap for each command.

    What a command leaves running ends with it. Other commands of the sandbox go on.
    """

    def __init__(
        self, bwrap: str, image: ProcessImage, folder: Path, limits: Limits, *, cpu: int
    ) -> None:
        super().__init__(image.digest, limits)
        self._image = image
        self._folder = folder
        self._user, self._claim = _claim_user()
        self._cpu = cpu
        self._options = [bwrap]
        self._lent: list[Path] = []
        self._trees: set[ProcessTree] = set()
        self._changed = threading.Condition()
        self._closed = False

    def prepare(self, image_folder: Path, *, network: bool) -> None:
        """Make the sandbox's files."""
        shm = self._limits.memory_bytes // 8
        self._options += view(self._folder, self._user, network=network, shm_bytes=shm)
        for number, mount in enumerate(self._image.mounts):
            source = image_folder / mount.source
            if not source.exists():
                raise ImageMissingError(f"{image_folder}: its {mount.source} is missing")
            if mount.mode == "copy":
                copy = self._folder / f"mount-{number}"
                _host(["cp", "-a", "--reflink=auto", "-T", str(source), str(copy)])
                source = copy
            elif mount.mode == "rw":
                self._lent.append(source)
            how = "--ro-bind" if mount.mode == "ro" else "--bind"
            self._options += bind(how, source, mount.target)
        self._options += ["--remount-ro", "/"]
        self._give([self._folder, *self._lent], self._user.uid, self._user.gid)

    def close(self) -> None:
        """See `Sandbox.close`."""
        with self._changed:
            self._closed = True
            for tree in self._trees:
                tree.kill()
            if not self._changed.wait_for(lambda: not self._trees, _CLOSING_SECONDS):
                raise SandboxFailure(f"{self._folder}: a command does not end")
            self._give(self._lent, os.getuid(), os.getgid())
            self._lent.clear()
            _remove(self._folder)
            if self._claim is not None:
                self._claim.close()

    def _run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        cwd: str,
        env: Mapping[str, str],
        stdin: bytes,
        on_output: OnOutput | None,
        keep: int,
    ) -> ExecResult:
        began = time.monotonic()
        kept = HeadTail(keep)
        environment = {"PATH": PATH, "HOME": HOME, **self._image.env, **env}
        inner = unprivileged(
            command, self._user, self._limits, cwd=cwd, env=environment, cpu=self._cpu
        )
        with self._tree([*self._options, "--", *inner], stdin) as tree:
            end = tree.follow(began + timeout, self._limits.memory_bytes, kept, on_output)
            tree.end()
            for chunk in tree.rest():
                kept.add(chunk)
                if end is End.EXIT and on_output is not None:
                    on_output(chunk)
            code = tree.exit_code()
        if self._closed:
            raise SandboxFailure("the sandbox was closed while a command ran")
        if end is End.EXIT and code is None:
            raise SandboxFailure(f"bubblewrap: {kept.value().decode(errors='replace').strip()}")
        return ExecResult(
            exit_code={End.EXIT: code, End.MEMORY_LIMIT: _KILLED}.get(end),
            output=kept.value(),
            output_bytes=kept.total,
            truncated=kept.truncated,
            timed_out=end is End.TIME_LIMIT,
            seconds=time.monotonic() - began,
        )

    @contextmanager
    def _tree(self, bwrap: list[str], stdin: bytes) -> Iterator[ProcessTree]:
        """A tree that `close` knows, and that is gone at the end."""
        with self._changed:
            if self._closed:
                raise SandboxFailure("the sandbox is closed")
            try:
                tree = ProcessTree(bwrap, stdin, seccomp.program())
            except OSError as error:
                raise SandboxFailure(f"bubblewrap does not start: {error}") from error
            self._trees.add(tree)
        try:
            yield tree
        finally:
            try:
                tree.end()
            finally:
                with self._changed:
                    self._trees.discard(tree)
                    self._changed.notify_all()
                tree.close()

    def _give(self, folders: Sequence[Path], uid: int, gid: int) -> None:
        if self._user.own and folders:
            _host(["chown", "-hR", f"{uid}:{gid}", "--", *map(str, folders)])


def _claim_user() -> tuple[User, socket.socket | None]:
    """The user of a sandbox; as root one that no other sandbox of this machine has.

    The claim is an abstract socket: the kernel gives each name once, and frees it with us.
    """
    if os.geteuid() != 0:
        return User(os.getuid(), os.getgid(), own=False), None
    claim = socket.socket(socket.AF_UNIX)
    first = random.randrange(_UIDS)  # noqa: S311
    for number in range(_UIDS):
        uid = _FIRST_UID + (first + number) % _UIDS
        with suppress(OSError):
            claim.bind(f"\0swe-harness-user-{uid}")
            return User(uid, uid, own=True), claim
    claim.close()
    raise SandboxFailure(f"all {_UIDS:,} users for sandboxes are taken")


def _kill_all(part: str) -> None:
    """Kill what runs in or starts a sandbox whose folder's name is `part`."""
    while pids := [*processes_with_argument("bwrap", part), *processes_with_mount(part)]:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _remove(folder: Path) -> None:
    # rm, unlike shutil.rmtree, has no limit of depth.
    if subprocess.run(["rm", "-rf", "--", str(folder)], capture_output=True).returncode:
        subprocess.run(["chmod", "-R", "u+rwX", "--", str(folder)], capture_output=True)
        _host(["rm", "-rf", "--", str(folder)])


def _host(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        error = done.stderr.decode(errors="replace").strip()
        raise SandboxFailure(f"{command[0]} failed: {error}")
