"""An attempt's files on their way from a worker to the driver."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.sandboxes.base import MIB

MAX_BYTES = 256 * MIB
MAX_FILES = 4096


class FilesError(ValueError):
    """The files of an attempt are more than is sent, or have names that are not accepted."""


def pack(folder: Path) -> dict[str, bytes]:
    """The regular files below a folder by relative path; links and special files stay behind.

    Raises FilesError over MAX_BYTES or MAX_FILES.
    """
    found: dict[str, bytes] = {}
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_symlink() or not path.is_file():
                continue
            total += path.stat().st_size
            if total > MAX_BYTES or len(found) == MAX_FILES:
                raise FilesError(
                    f"its files are more than {MAX_BYTES // MIB} MiB or {MAX_FILES:,}: "
                    "a worker does not send them"
                )
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files into an empty folder. Raises FilesError for a path that leads out of it."""
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\0" in name:
            raise FilesError(f"a worker sent a file named {name!r}")
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
