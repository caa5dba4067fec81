"""The snapshot of a folder of the file system."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pi_extractors.base import ExtractionError
from pi_extractors.records import Skipped
from pi_extractors.snapshot_files import (
    MAX_DEPTH,
    Limits,
    Listing,
    blob_id,
    identity_of,
    in_order,
    missing,
)

_KINDS = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class DirectorySnapshot:
    """The regular files below a folder, as they are when `files` is first asked for.

    No link is followed. Raises ExtractionError when the folder cannot be read.
    """

    def __init__(self, root: Path, limits: Limits = Limits()) -> None:  # noqa: B008  # frozen
        self._root = root
        self._limits = limits

    @property
    def files(self) -> Mapping[str, str]:
        """Git blob ids by path."""
        return self._walked[0]

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What was left out."""
        return self._walked[1]

    @cached_property
    def identity(self) -> str:
        """Digest of all paths and contents."""
        return identity_of(self.files)

    def read(self, path: str) -> bytes:
        """A file's content. Raises ExtractionError when it is none, or was changed meanwhile."""
        blob = self.files.get(path)
        if blob is None:
            raise missing(path)
        try:
            content = _read(self._root / path, self._limits.file_bytes)
        except OSError as error:
            raise ExtractionError(f"{path}: {error.strerror}") from None
        if blob_id(content) != blob:
            raise ExtractionError(f"{path}: changed while the snapshot was in use; start again")
        return content

    @cached_property
    def _walked(self) -> tuple[Mapping[str, str], Sequence[Skipped]]:
        listing = Listing(self._limits)
        files = {}
        for path, size in _walk(self._root, listing):
            if listing.admit(path, size):
                try:
                    files[path] = blob_id(_read(self._root / path, self._limits.file_bytes))
                except OSError as error:
                    listing.skip(path, error.strerror or "cannot be read")
            if listing.full:
                break
        return in_order(files), listing.skipped()


def _walk(root: Path, listing: Listing) -> Iterator[tuple[str, int]]:
    """Path and size of regular files, folder by folder in the order of names."""
    pending = [""]
    while pending and not listing.full:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as found:
                entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            if not folder:
                raise ExtractionError(f"{root}: {error.strerror}") from None
            listing.skip(folder, error.strerror or "cannot be read")
            continue
        folders = []
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                listing.skip(path, error.strerror or "cannot be read")
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status.st_size
            elif not stat.S_ISDIR(status.st_mode):
                listing.skip(path, _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file"))
            elif entry.name.lower() == ".git":
                listing.skip(path, "git's own data")
            elif path.count("/") + 1 >= MAX_DEPTH:
                listing.skip(path, f"over {MAX_DEPTH} folders deep")
            else:
                listing.see(path)
                folders.append(path)
        pending += reversed(folders)


def _read(path: Path, most: int) -> bytes:
    """At most so many bytes of a regular file; a pipe or link put in its place is refused."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "no regular file any more")
        return file.read(most + 1)
