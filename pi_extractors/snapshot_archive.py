"""The snapshot of a tar archive: a source distribution, or a folder taken from a container."""

import tarfile
from pathlib import Path
from typing import IO

from pi_extractors.base import ExtractionError
from pi_extractors.snapshot_files import Limits, Listing, MemorySnapshot, unusable


class ArchiveSnapshot(MemorySnapshot):
    """The regular files of a tar archive, plain or compressed, below its one top folder.

    The archive is read once, from start to end, into memory. Links, devices and names that lead
    outside are left out; of two members with one name, the later counts.
    Raises ExtractionError for what is no archive, or has more than one top folder.
    """

    def __init__(self, archive: Path | IO[bytes], limits: Limits = Limits()) -> None:  # noqa: B008
        name = archive.name if isinstance(archive, Path) else "archive"
        try:
            if isinstance(archive, Path):
                with archive.open("rb") as file:
                    contents, listing = _unpack(file, limits, name)
            else:
                contents, listing = _unpack(archive, limits, name)
        except (tarfile.TarError, OSError, EOFError, UnicodeError, ValueError) as error:
            if isinstance(error, ExtractionError):
                raise
            raise ExtractionError(f"{name}: no readable tar archive: {error}") from None
        super().__init__(contents, listing.skipped())


def _unpack(file: IO[bytes], limits: Limits, name: str) -> tuple[dict[str, bytes], Listing]:
    listing = Listing(limits)
    contents: dict[str, bytes] = {}
    top = None
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # it keeps them all otherwise
            if listing.full:
                break
            first, _, path = member.name.removeprefix("./").partition("/")
            if first in ("", ".", "..") or member.name.startswith("/"):
                if not member.isdir():
                    listing.skip(member.name, unusable(member.name) or "outside the top folder")
                listing.see(member.name)
                continue
            if top not in (None, first):
                raise ExtractionError(f"{name}: one top folder expected, found {top} and {first}")
            top = first
            if member.isdir():
                listing.see(path)
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                listing.skip(path, "symbolic link" if member.issym() else "no regular file")
            elif listing.admit(path, member.size):
                contents[path] = content.read()
    return contents, listing
