"""Sandboxes that are process trees, isolated by bubblewrap: no engine, no image store."""

import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.records.cache import cache_root
from harness.sandboxes import seccomp
from harness.sandboxes.base import Bind, ExecResult, ImageMissingError, Limits, SandboxFailure
from harness.sandboxes.bubblewrap import HOME, PATH, User, bind, unprivileged, view
from harness.sandboxes.disk import deleted_bytes, tree_bytes
from harness.sandboxes.output import HeadTail
from harness.sandboxes.process_image import Mount, ProcessImage
from harness.sandboxes.process_state import (
    abandoned,
    claim_folder,
    claim_user,
    end_processes,
    give,
    host_command,
    remove,
)
from harness.sandboxes.process_tree import End, ProcessTree
from harness.sandboxes.shell import OnOutput, ShellSandbox

__all__ = ["Mount", "ProcessImage", "ProcessProvider", "ProcessSandbox"]

_CLOSING_SECONDS = 60.0
_KILLED = 137


class ProcessProvider:
    """Sandboxes whose files are below the `state` folder. Safe to use from several threads.

    Where a sandbox of Docker has control groups, this has a user of its own for each sandbox (the
    limit of processes), a look at the memory four times a second (over the limit: 137), and whole
    cores. Raises SandboxFailure when this machine cannot run bubblewrap.
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
        self,
        image: str,
        *,
        limits: Limits,
        owner: str,
        network: bool = False,
        binds: Sequence[Bind] = (),
    ) -> "ProcessSandbox":
        """See `SandboxProvider.start`. `image` is the absolute path of the image's folder."""
        image_folder = Path(image)
        return self._start(
            ProcessImage.load(image_folder),
            image_folder,
            limits=limits,
            owner=owner,
            network=network,
            binds=binds,
        )

    def cleanup(self, owner: str | None = None) -> int:
        """See `SandboxProvider.cleanup`."""
        removed = 0
        for folder in abandoned(self._state, owner):
            end_processes(folder)
            remove(folder)
            removed += 1
        return removed

    def _start(
        self,
        image: ProcessImage,
        source: Path,
        *,
        limits: Limits,
        owner: str,
        network: bool = False,
        binds: Sequence[Bind] = (),
    ) -> "ProcessSandbox":
        try:
            image.check_binds(binds)
        except ValueError as error:
            raise SandboxFailure(f"a process sandbox cannot bind what is asked: {error}") from None
        with ExitStack() as held:
            try:
                folder, lock = claim_folder(self._state, owner)
                held.callback(os.close, lock)
                held.callback(remove, folder)
                user = claim_user(held)
                shm = limits.memory_bytes // 8
                options = view(folder, user, network=network, shm_bytes=shm)
                for number, mount in enumerate(image.mounts):
                    copy = folder / f"mount-{number}"
                    options += _mount(mount, source / mount.source, copy, user, held)
                for each in binds:
                    options += _bind(each, user, held)
                give([folder], user)
            except OSError as error:
                raise SandboxFailure(f"a sandbox cannot be made: {error}") from error
            options = [self._bwrap, *options, "--remount-ro", "/"]
            return ProcessSandbox(
                image,
                options,
                user,
                limits,
                cpu=next(self._numbers),
                disk=[folder, *(Path(each.source) for each in binds if each.writable)],
                held=held.pop_all(),
            )

    def _check(self) -> None:
        empty = ProcessImage(digest="sha256:" + "0" * 64, mounts=())
        with self._start(empty, self._state, limits=Limits(), owner="check") as sandbox:
            result = sandbox.exec(["true"], timeout=30, cwd="/")
        if result.exit_code != 0:
            raise SandboxFailure(f"bubblewrap runs no command here: {result.text.strip()}")


class ProcessSandbox(ShellSandbox):
    """One folder of private files, and a bubblewrap for each command.

    What a command leaves running ends with it. Other commands of the sandbox go on.
    """

    def __init__(
        self,
        image: ProcessImage,
        bwrap: Sequence[str],
        user: User,
        limits: Limits,
        *,
        cpu: int,
        disk: Sequence[Path],
        held: ExitStack,
    ) -> None:
        super().__init__(image.digest, limits)
        self._folders = disk
        self._environment = {"PATH": PATH, "HOME": HOME, **image.env}
        self._bwrap = bwrap
        self._user = user
        self._cpu = cpu
        self._held = held
        self._trees: set[ProcessTree] = set()
        self._changed = threading.Condition()
        self._closed = False

    def close(self) -> None:
        """See `Sandbox.close`."""
        with self._changed:
            self._closed = True
            for tree in self._trees:
                tree.kill()
            if not self._changed.wait_for(lambda: not self._trees, _CLOSING_SECONDS):
                raise SandboxFailure("a command of the sandbox does not end")
        self._disk.close()
        self._held.close()

    def _kill(self) -> None:
        with self._changed:
            for tree in self._trees:
                tree.kill()

    def _disk_place(self) -> Path:
        return self._folders[0]

    def _disk_bytes(self) -> int:
        with self._changed:
            pids = [pid for tree in self._trees for pid in tree.pids()]
        return tree_bytes(self._folders) + deleted_bytes(pids)

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
        inner = unprivileged(
            command,
            self._user,
            self._limits,
            cwd=cwd,
            env={**self._environment, **env},
            cpu=self._cpu,
        )
        with self._tree([*self._bwrap, "--", *inner], stdin) as tree:
            end = tree.follow(began + timeout, self._limits.memory_bytes, kept, on_output)
            tree.end()
            for chunk in tree.rest():
                kept.add(chunk)
                if end is End.EXIT and on_output is not None:
                    on_output(chunk)
            code = tree.exit_code()
        if self._closed:
            raise SandboxFailure("the sandbox was closed while a command ran")
        if end is End.EXIT and code is None and self._disk.over:
            code = _KILLED
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


def _bind(each: Bind, user: User, held: ExitStack) -> list[str]:
    """bwrap's options for a bind, once the sandbox can write to it if it may."""
    source = Path(each.source)
    if not source.is_absolute():
        raise SandboxFailure(f"a process sandbox cannot bind the volume {each.source!r}")
    if not source.exists():
        raise ImageMissingError(f"{source} is missing, to be bound at {each.target}")
    if not each.writable:
        return bind("--ro-bind", source, each.target)
    held.callback(give, [source], User(os.getuid(), os.getgid(), own=user.own))
    give([source], user)
    return bind("--bind", source, each.target)


def _mount(mount: Mount, source: Path, copy: Path, user: User, held: ExitStack) -> list[str]:
    """bwrap's options for a mount of the image, once its tree is ready for the sandbox."""
    if not source.exists():
        raise ImageMissingError(f"the image's {source} is missing")
    if mount.mode == "ro":
        return bind("--ro-bind", source, mount.target)
    if mount.mode == "copy":
        host_command(["cp", "-a", "--reflink=auto", "-T", str(source), str(copy)])
        return bind("--bind", copy, mount.target)
    held.callback(give, [source], User(os.getuid(), os.getgid(), own=user.own))
    give([source], user)
    return bind("--bind", source, mount.target)
