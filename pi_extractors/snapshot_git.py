"""The snapshot of a commit in a local git repository."""

import os
import re
import subprocess
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO

from pi_extractors.base import ExtractionError
from pi_extractors.records import Skipped
from pi_extractors.snapshot_files import Limits, Listing, blob_id, identity_of, in_order, missing

_SECONDS = 120
_CHUNK = 1 << 20
_REGULAR = {"100644", "100755", "100664"}
_KINDS = {"120000": "symbolic link", "160000": "submodule"}


class GitSnapshot:
    """The tree of one commit, read from the object store of a repository, bare or not.

    Nothing is checked out, no other commit is looked at, and the repository's own configuration
    can neither run a command nor reach a network. `close` ends the git process that reads use.
    Raises ExtractionError for a repository or commit that is not there.
    """

    def __init__(self, repository: Path, commit: str, limits: Limits = Limits()) -> None:  # noqa: B008
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
            raise ExtractionError(f"{commit!r}: a commit is named by its 40 or 64 hex digits")
        inner = repository / ".git"
        self._folder = inner if inner.exists() else repository
        self._commit = commit
        self._limits = limits
        self._lock = threading.Lock()
        self._reader: subprocess.Popen[bytes] | None = None

    @property
    def files(self) -> Mapping[str, str]:
        """Git blob ids by path."""
        return self._listed[0]

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What was left out."""
        return self._listed[1]

    @cached_property
    def identity(self) -> str:
        """Digest of all paths and contents."""
        return identity_of(self.files)

    def read(self, path: str) -> bytes:
        """A file's content. Raises ExtractionError when it is none, or the object is damaged."""
        blob = self.files.get(path)
        if blob is None:
            raise missing(path)
        with self._lock:
            content = self._object(blob)
        if content is None or blob_id(content, "sha1" if len(blob) == 40 else "sha256") != blob:
            raise ExtractionError(f"{self._folder}: object {blob} ({path}) is missing or damaged")
        return content

    def close(self) -> None:
        """End the git process; a later read starts another."""
        with self._lock:
            if self._reader is not None:
                _end(self._reader)
                self._reader = None

    @cached_property
    def _listed(self) -> tuple[Mapping[str, str], Sequence[Skipped]]:
        listing = Listing(self._limits)
        files = {}
        for mode, kind, blob, size, raw in self._tree():
            path = os.fsdecode(raw)
            if kind != "blob" or mode not in _REGULAR:
                listing.skip(path, _KINDS.get(mode, "no regular file"))
            elif listing.admit(path, size):
                files[path] = blob
            if listing.full:
                break
        return in_order(files), listing.skipped()

    def _tree(self) -> Iterator[tuple[str, str, str, int, bytes]]:
        """Entries of the commit's tree, as they come: a small tree can name endless files."""
        arguments = ("ls-tree", "-r", "-z", "-l", "--full-tree", f"{self._commit}^{{tree}}")
        process = self._start(arguments, stdin=subprocess.DEVNULL)
        watch = threading.Timer(_SECONDS, process.kill)
        watch.start()
        try:
            for line in _records(_pipe(process.stdout)):
                head, _, path = line.partition(b"\t")
                mode, kind, blob, size = head.decode("ascii").split()
                yield mode, kind, blob, int(size) if size.isdigit() else 0, path
            said = _pipe(process.stderr).read(2000).decode(errors="replace").strip()
            if process.wait() != 0:
                raise ExtractionError(
                    f"{self._folder}: the tree of {self._commit} cannot be listed: "
                    f"{said or 'git took too long'}; fetch the commit, or check the path"
                )
        finally:
            watch.cancel()
            _end(process)

    def _object(self, blob: str) -> bytes | None:
        reader = self._reader
        if reader is None or reader.poll() is not None:
            reader = self._start(("cat-file", "--batch"), stdin=subprocess.PIPE)
            weakref.finalize(self, _end, reader)
            self._reader = reader
        watch = threading.Timer(_SECONDS, reader.kill)
        watch.start()
        try:
            stdin, stdout = _pipe(reader.stdin), _pipe(reader.stdout)
            stdin.write(f"{blob}\n".encode())
            stdin.flush()
            head = stdout.readline().split()
            if len(head) != 3 or head[1] != b"blob" or int(head[2]) > self._limits.file_bytes:
                _end(reader)
                return None
            content = stdout.read(int(head[2]))
            stdout.read(1)
        except OSError:
            return None
        finally:
            watch.cancel()
        return content

    def _start(self, arguments: tuple[str, ...], *, stdin: int) -> subprocess.Popen[bytes]:
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.devnull,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            # A partial clone would fetch what it lacks, by a command that its own config names.
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_ALLOW_PROTOCOL": "none",
        }
        try:
            return subprocess.Popen(
                ["git", f"--git-dir={self._folder}", *arguments],
                env=env,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if stdin == subprocess.DEVNULL else subprocess.DEVNULL,
            )
        except OSError as error:
            raise ExtractionError(f"git cannot be started: {error}") from None


def _records(stream: IO[bytes]) -> Iterator[bytes]:
    """The parts of a stream that NUL bytes end."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue
    process.wait()
