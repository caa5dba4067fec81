"""The files of a process sandbox's image, and what the sandbox sees of this machine."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO

from harness.environments.image_files import Entry
from harness.sandboxes.base import MIB, ImageMissingError
from harness.sandboxes.bubblewrap import User, view
from harness.sandboxes.process_image import ProcessImage

_ARCHIVES = (".whl", ".egg", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".bundle", ".pack")
_INSTALLED = (".py", "/METADATA", "/PKG-INFO")


class ProcessFiles:
    """The image of a process sandbox: its trees, and the folders of this machine it sees."""

    def __init__(self, folder: Path) -> None:
        image = ProcessImage.load(folder)
        self.digest = image.digest
        self.config = image.model_dump_json()
        self._trees = [((folder / each.source).resolve(), each.target) for each in image.mounts]
        self._host, self._hidden = _host_folders()

    def fingerprint(self) -> str:
        """See `ImageFiles.fingerprint`: names, sizes and times of the files."""
        facts = hashlib.sha256(repr((self.config, self._host, self._hidden)).encode())
        for host in self._host:
            for packages in sorted(Path(host).glob("lib/python3*/*-packages")):
                facts.update(repr((str(packages), packages.stat().st_mtime_ns)).encode())
        for root, target in self._trees:
            for path in _walk(str(root)):
                found = os.lstat(path)
                facts.update(repr((target, path, found.st_size, found.st_mtime_ns)).encode())
                facts.update(repr((found.st_ino, found.st_ctime_ns, found.st_mode)).encode())
        return "sha256:" + facts.hexdigest()

    def entries(self) -> Iterator[Entry]:
        """See `ImageFiles.entries`. Of this machine's folders only what could be a package."""
        for root, target in self._trees:
            if not root.is_dir():
                raise ImageMissingError(f"the image's {root} is missing")
            yield _from_disk(str(root), target)
            for path in _walk(str(root)):
                yield _from_disk(path, target + path.removeprefix(str(root)))
        for folder in self._host:
            for path in _packages(folder):
                if not path.startswith(self._hidden):
                    yield _from_disk(path, path, host=True)


@lru_cache(maxsize=1)
def _host_folders() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What of this machine a process sandbox sees, and what below it is hidden from it."""
    with tempfile.TemporaryDirectory() as folder:
        user = User(os.getuid(), os.getgid(), own=False)
        options = view(Path(folder), user, network=False, shm_bytes=MIB)
        shown = [
            options[place + 1]
            for place, option in enumerate(options)
            if option.startswith("--ro-bind")
            and not options[place + 1].startswith((folder, "/proc"))
        ]
    hidden = [options[at + 1] + "/" for at, option in enumerate(options) if option == "--tmpfs"]
    real = sorted({str(Path(name).resolve()) for name in shown if Path(name).is_dir()})
    outer = [name for name in real if not any(name.startswith(f"{each}/") for each in real)]
    return tuple(outer), tuple(hidden)


def _walk(root: str) -> Iterator[str]:
    folders = [root]
    while folders:
        try:
            with os.scandir(folders.pop()) as listing:
                found = sorted(listing, key=lambda item: item.name)
        except PermissionError:
            continue
        for item in found:
            yield item.path
            if item.is_dir(follow_symlinks=False):
                folders.append(item.path)


@lru_cache(maxsize=8)
def _packages(folder: str) -> tuple[str, ...]:
    """Installed Python files and metadata, archives and git packs below a folder."""
    return tuple(
        path
        for path in _walk(folder)
        if path.endswith(_ARCHIVES)
        or (path.endswith(_INSTALLED) and ("/site-packages/" in path or "/dist-packages/" in path))
    )


def _from_disk(path: str, name: str, *, host: bool = False) -> Entry:
    facts = os.lstat(path)
    mode = stat.S_IMODE(facts.st_mode)
    if stat.S_ISLNK(facts.st_mode):
        return Entry(name, "link", mode, os.readlink(path), host)  # noqa: PTH115
    if stat.S_ISDIR(facts.st_mode):
        return Entry(name, "folder", mode, host=host)
    if stat.S_ISREG(facts.st_mode):
        return Entry(name, "file", mode, host=host, open=lambda: _open(path))
    return Entry(name, "other", mode, host=host)


def _open(path: str) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
