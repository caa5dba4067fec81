"""What every kind of snapshot shares: which files it takes, their ids, their identity."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pi_extractors.base import ExtractionError
from pi_extractors.records import Skipped

MAX_DEPTH = 64
_MAX_NAME = 1024
_MAX_SKIPPED = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a repository is taken; sizes in bytes. Twice as many names are looked at."""

    files: int = 100_000
    file_bytes: int = 4 * 1024 * 1024
    total_bytes: int = 1024 * 1024 * 1024


class Listing:
    """Decides file by file what a snapshot takes, and keeps the reasons for the rest."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen = 0
        self._taken = 0
        self._bytes = 0
        self._skipped: dict[str, str] = {}
        self.full = False

    def see(self, path: str) -> None:
        """Count a name of any kind."""
        self._seen += 1
        if self._seen > 2 * self._limits.files:
            self._stop(path, f"over {2 * self._limits.files} names")

    def admit(self, path: str, size: int) -> bool:
        """Whether a regular file is taken. Sets `full` when nothing further will be."""
        limits = self._limits
        if reason := unusable(path):
            return self.skip(path, reason)
        if size > limits.file_bytes:
            return self.skip(path, f"{size} bytes, over {limits.file_bytes}")
        self.see(path)
        if self._taken >= limits.files:
            self._stop(path, f"over {limits.files} files")
        elif self._bytes + size > limits.total_bytes:
            self._stop(path, f"over {limits.total_bytes} bytes in all")
        if self.full:
            return False
        self._taken += 1
        self._bytes += size
        return True

    def skip(self, path: str, reason: str) -> bool:
        """Note a part that is left out; False, for the caller to pass on."""
        self.see(path)
        if len(self._skipped) < _MAX_SKIPPED:
            self._skipped[printable(path)] = reason
        return False

    def _stop(self, path: str, reason: str) -> None:
        if not self.full:
            self.full = True
            self._skipped[printable(path)] = f"{reason}: this and all that follows"

    def skipped(self) -> tuple[Skipped, ...]:
        """All that was left out, in path order; at most the first thousand."""
        return tuple(Skipped(path=path, reason=why) for path, why in sorted(self._skipped.items()))


def unusable(path: str) -> str | None:
    """Why a file of that name is left out; None for one that is fine."""
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return "name leads outside the repository"
    if any(part.lower() == ".git" for part in parts):
        return "git's own data"
    if not _is_text(path):
        return "name is not UTF-8"
    if not path.isprintable():
        return "control characters in the name"
    if len(path) > _MAX_NAME or len(parts) > MAX_DEPTH:
        return f"name over {_MAX_NAME} characters or {MAX_DEPTH} folders"
    return None


def printable(path: str) -> str:
    """A name that any record can hold: undecodable and control characters escaped."""
    text = path.encode("utf-8", "backslashreplace").decode()[:_MAX_NAME]
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def blob_id(content: bytes, algorithm: str = "sha1") -> str:
    """The id that git gives to a file's content."""
    digest = hashlib.new(algorithm, b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


def identity_of(files: Mapping[str, str]) -> str:
    """`sha256:` over paths and blob ids; `files` in path order."""
    digest = hashlib.sha256()
    for path, blob in files.items():
        digest.update(f"{blob} {path}\0".encode())
    return f"sha256:{digest.hexdigest()}"


def in_order(files: Mapping[str, str]) -> dict[str, str]:
    """Files in path order."""
    return dict(sorted(files.items()))


def missing(path: str) -> ExtractionError:
    """The error for a path that a snapshot does not have."""
    return ExtractionError(f"{printable(path)}: not a file of the snapshot; see its `files`")


class MemorySnapshot:
    """Files that are held in memory, by path.

    Raises ExtractionError for a path that no snapshot may have.
    """

    def __init__(self, contents: Mapping[str, bytes], skipped: Sequence[Skipped] = ()) -> None:
        for path in contents:
            if reason := unusable(path):
                raise ExtractionError(f"{printable(path)}: {reason}")
        self._contents = dict(contents)
        self.skipped = tuple(skipped)
        self.files: Mapping[str, str] = in_order(
            {path: blob_id(content) for path, content in contents.items()}
        )
        self.identity = identity_of(self.files)

    def read(self, path: str) -> bytes:
        """A file's content. Raises ExtractionError for a path that `files` does not have."""
        try:
            return self._contents[path]
        except KeyError:
            raise missing(path) from None
