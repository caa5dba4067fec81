"""What both kinds of sandbox do alike: everything but running a command."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.sandboxes.base import MIB, WORKDIR, ExecResult, Limits
from harness.sandboxes.diff import DIFF_BYTES, take_diff
from harness.sandboxes.disk import DiskWatch
from harness.sandboxes.output import HeadTail

OnOutput = Callable[[bytes], bool]

_FILE_SECONDS = 120.0
_DIFF_SECONDS = 300.0
_ARGUMENT_BYTES = 128 * 1024  # what the kernel takes as one argument
_MISSING, _TOO_LARGE = 66, 67
_CANNOT_RUN, _KILLED = 126, 137

_WRITE = 'mkdir -p -- "${1%/*}/" && rm -f -- "$1" && cat >"$1" && chmod "$2" -- "$1"'
_READ = f"""
[ -f "$1" ] && ! [ -L "$1" ] || exit {_MISSING}
[ "$(stat -c %s -- "$1")" -le "$2" ] || exit {_TOO_LARGE}
exec head -c "$(($2 + 1))" -- "$1"
"""


class ShellSandbox(ABC):
    """A sandbox that reads and writes files by commands inside it.

    So a path means what it means to the code in the sandbox, links included: the host never
    follows one.
    """

    def __init__(self, image_digest: str, limits: Limits) -> None:
        self._image_digest = image_digest
        self._limits = limits
        self._disk = DiskWatch(
            limits.disk_bytes,
            measure=self._disk_bytes,
            kill=self._kill,
            place=self._disk_place,
        )

    @abstractmethod
    def _disk_place(self) -> Path | None:
        """A path on the disk that the sandbox writes to, if this process sees it."""

    @abstractmethod
    def _disk_bytes(self) -> int:
        """What the sandbox takes of the disk. Raises SandboxFailure."""

    @abstractmethod
    def _kill(self) -> None:
        """End everything that runs in the sandbox, from any thread."""

    @abstractmethod
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
        """Run a command and keep at most `keep` bytes of its output."""

    def _settle(self) -> None:  # noqa: B027
        """Called after each command of the caller, which may have left processes."""

    @abstractmethod
    def close(self) -> None:
        """See `Sandbox.close`."""

    @property
    def image_digest(self) -> str:
        """See `Sandbox.image_digest`."""
        return self._image_digest

    def exec(
        self,
        command: str | Sequence[str],
        *,
        timeout: float,
        cwd: str = WORKDIR,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        on_output: OnOutput | None = None,
    ) -> ExecResult:
        """See `Sandbox.exec`."""
        arguments = ["bash", "-c", command] if isinstance(command, str) else list(command)
        environment = dict(env or {})
        if refusal := _refusal([*arguments, cwd, *environment, *environment.values()]):
            return refused(refusal)
        if self._disk.over:
            return refused(self._disk.over, exit_code=_KILLED)
        with self._disk.watching():
            result = self._run(
                arguments,
                timeout=timeout,
                cwd=cwd,
                env=environment,
                stdin=stdin,
                on_output=on_output,
                keep=self._limits.output_bytes,
            )
            self._settle()
        return self._over_disk(result) if self._disk.over else result

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """See `Sandbox.write`. Raises OSError when the sandbox's file system does not let it."""
        result = self._command([_WRITE, "write", path, f"{mode:o}"], stdin=data)
        if result.exit_code != 0:
            raise OSError(f"{path}: cannot be written in the sandbox: {result.text.strip()}")

    def read(self, path: str, *, limit: int = 64 * MIB) -> bytes:
        """See `Sandbox.read`. A link is no regular file. Raises OSError when it cannot be read."""
        result = self._command([_READ, "read", path, str(limit)], keep=limit + 1)
        if result.exit_code == _MISSING:
            raise FileNotFoundError(f"{path}: no regular file in the sandbox")
        if result.exit_code == _TOO_LARGE or result.output_bytes > limit:
            raise ValueError(f"{path}: over the limit of {limit:,} bytes")
        if result.exit_code != 0:
            raise OSError(f"{path}: cannot be read in the sandbox: {result.text.strip()}")
        return result.output

    def diff(self, base_commit: str) -> str:
        """See `Sandbox.diff`."""
        return take_diff(
            lambda script: self._command(script, timeout=_DIFF_SECONDS, keep=DIFF_BYTES),
            base_commit,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _command(
        self,
        script: list[str],
        *,
        stdin: bytes = b"",
        timeout: float = _FILE_SECONDS,
        keep: int = MIB,
    ) -> ExecResult:
        with self._disk.watching():
            result = self._run(
                ["bash", "-c", *script],
                timeout=timeout,
                cwd="/",
                env={},
                stdin=stdin,
                on_output=None,
                keep=max(keep, 1024),
            )
        ended = result.exit_code in (None, _KILLED) and not result.timed_out
        return self._over_disk(result) if self._disk.over and ended else result

    def _over_disk(self, result: ExecResult) -> ExecResult:
        kept = HeadTail(self._limits.output_bytes)
        kept.add(result.output)
        kept.add(f"\n{self._disk.over}\n".encode())
        return result.model_copy(
            update={
                "exit_code": _KILLED,
                "output": kept.value(),
                "output_bytes": result.output_bytes - len(result.output) + kept.total,
                "truncated": result.truncated or kept.truncated,
                "timed_out": False,
            }
        )


def refused(why: str, exit_code: int = _CANNOT_RUN) -> ExecResult:
    """The result of a command that cannot run, as a shell would put it."""
    output = why.encode()
    return ExecResult(
        exit_code=exit_code,
        output=output,
        output_bytes=len(output),
        truncated=False,
        timed_out=False,
        seconds=0,
    )


def _refusal(texts: Sequence[str]) -> str:
    """Why no kernel runs a command with these texts, or nothing."""
    try:
        size = sum(len(text.encode()) for text in texts)
    except UnicodeEncodeError:
        return "the command holds a character that is not Unicode text"
    if any("\0" in text for text in texts):
        return "the command holds a NUL character"
    if size >= _ARGUMENT_BYTES:
        return f"a command of {size:,} bytes is over the limit of {_ARGUMENT_BYTES:,}: use a file"
    return ""
