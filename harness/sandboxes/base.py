"""The sandbox contract: what every backend promises and what it raises."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from pydantic import Field

from harness.records import Record

MIB = 1024 * 1024
WORKDIR = "/testbed"


class SandboxFailure(Exception):  # noqa: N818
    """The sandbox itself failed: never shown to a model, never graded, always retried."""


class ImageMissingError(SandboxFailure):
    """The image, or what is bound, is not on this machine; retrying does not help."""


class Limits(Record):
    """What one sandbox may use. A command over a limit fails; the host does not."""

    memory_bytes: int = Field(4096 * MIB, ge=64 * MIB)
    pids: int = Field(512, ge=8)
    disk_bytes: int = Field(
        8192 * MIB, ge=16 * MIB, description="Of files, each inode as 16 KiB; /dev/shm is memory."
    )
    cpus: float | None = Field(None, gt=0, description="None: as many as the machine has.")
    output_bytes: int = Field(16 * MIB, ge=1024, description="Kept of one command's output.")


class Bind(Record):
    """Something of the host that a sandbox sees at `target`, in place of what an image has there.

    `source` is an absolute path, or (Docker only) the name of a volume. What is bound is never
    copied, and read-only unless `writable`. Mounts below `source` are read-only too, or not seen.
    Commands have a user of their own: to be connected to, a Unix socket has mode 0666, and the
    folder that is bound 0755; who else may enter is up to the folders above, which are not seen.
    A writable source belongs to one sandbox at a time; keep it below a folder that nobody else
    can enter.
    """

    source: str
    target: str = Field(pattern=r"^/[^:]*$")
    writable: bool = False


class ExecResult(Record):
    """The end of one command. `output` is stdout and stderr, interleaved, at most
    `Limits.output_bytes` of it: head and tail, with the number of bytes cut in between."""

    exit_code: int | None = Field(description="None when the command was killed by us.")
    output: bytes
    output_bytes: int = Field(description="Bytes the command really wrote (read before a kill).")
    truncated: bool
    timed_out: bool
    seconds: float

    @property
    def text(self) -> str:
        """The output as text; bytes that are not UTF-8 are replaced."""
        return self.output.decode(errors="replace")


class Sandbox(Protocol):
    """One running environment with no network, of one attempt or one evaluation.

    A command that fails is a result. A sandbox that fails raises `SandboxFailure`.
    """

    @property
    def image_digest(self) -> str:
        """What the sandbox runs, by content (`sha256:…`)."""
        ...

    def exec(
        self,
        command: str | Sequence[str],
        *,
        timeout: float,
        cwd: str = WORKDIR,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        on_output: Callable[[bytes], bool] | None = None,
    ) -> ExecResult:
        """Run a command (text goes to `bash -c`) and wait for it at most `timeout` seconds.

        At the time limit the whole process tree is killed, background children included.
        `on_output` sees the output as it arrives; when it returns True the command is killed the
        same way (`exit_code` None, `timed_out` False). Output over the limit is read and dropped,
        never held in memory. Processes left running may be killed when the command ends.
        At the limit of the disk everything is killed, and this and all later commands end with 137
        and a text that names the limit; `read`, `write` and `diff` still work on small files.
        """
        ...

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file at an absolute path, making its folders.

        Raises OSError when the sandbox's file system refuses.
        """
        ...

    def read(self, path: str, *, limit: int = 64 * MIB) -> bytes:
        """Read a regular file. Raises FileNotFoundError, or ValueError over `limit` bytes."""
        ...

    def diff(self, base_commit: str) -> str:
        """The work tree's changes against a commit as a `git diff --binary` that `git apply`
        takes: new and deleted files included; caches (`__pycache__`, `*.pyc`, `.pytest_cache`,
        `*.egg-info`, build output) and files that git ignores left out; no configuration, hook,
        filter or diff driver of the repository takes effect.

        Raises ValueError when the repository was made unreadable by the agent.
        """
        ...

    def close(self) -> None:
        """Kill everything and remove every trace. Safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class SandboxProvider(Protocol):
    """Makes sandboxes of one kind."""

    @property
    def kind(self) -> str:
        """`docker` or `process`."""
        ...

    def digest(self, image: str) -> str:
        """The content digest of an image. Raises `ImageMissingError`."""
        ...

    def start(
        self,
        image: str,
        *,
        limits: Limits,
        owner: str,
        network: bool = False,
        binds: Sequence[Bind] = (),
    ) -> Sandbox:
        """Start a fresh sandbox. `owner` (a run's id) labels what is left after a crash.

        `binds` come on top of the image; none may be in a place that commands can write to.

        Raises `ImageMissingError` (for a bind's source too) or another `SandboxFailure`.
        """
        ...

    def cleanup(self, owner: str | None = None) -> int:
        """Remove what crashed processes left (of one owner, or of all whose process is gone).

        Returns how many sandboxes were removed. Sandboxes of living processes are not touched.
        """
        ...
