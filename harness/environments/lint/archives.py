"""What is packed inside a file: wheels, source distributions, compressed text."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

from harness.environments.image_files import Data

_MAX_BYTES = 256 * 1024 * 1024
_MAX_MEMBERS = 50_000
_MAX_DEPTH = 3

_OPENERS: tuple[tuple[bytes, Callable[[io.BytesIO], io.BufferedIOBase]], ...] = (
    (b"\x1f\x8b", lambda stream: gzip.GzipFile(fileobj=stream)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)


class TooLargeError(Exception):
    """An archive is too large to be looked through."""


def members(name: str, data: Data, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Path and content of everything packed in data, at any depth; nothing for a plain file.

    A path is the archive's, `!/`, and the member's own. What is damaged ends silently where it
    cannot be read on: no tool of an agent reads further either. Raises TooLargeError.
    """
    if depth == _MAX_DEPTH:
        return
    for path, content in _opened(name, data):
        yield path, content
        yield from members(path, content, depth + 1)


def _opened(name: str, data: Data) -> Iterator[tuple[str, bytes]]:
    head = data[:6]
    budget = _MAX_BYTES
    try:
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield from _zip(name, data)
            return
        for magic, opener in _OPENERS:
            if head.startswith(magic):
                plain = opener(io.BytesIO(data[:])).read(budget + 1)
                if len(plain) > budget:
                    raise TooLargeError(name)
                yield f"{name}!/", plain
                return
        if data[257:262] == b"ustar":
            yield from _tar(name, data)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return
    except (zipfile.BadZipFile, tarfile.TarError, RuntimeError, NotImplementedError):
        return


def _zip(name: str, data: Data) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data[:])) as archive:
        infos = archive.infolist()
        if len(infos) > _MAX_MEMBERS or sum(info.file_size for info in infos) > _MAX_BYTES:
            raise TooLargeError(name)
        for info in infos:
            if not info.is_dir():
                with archive.open(info) as stream:
                    yield f"{name}!/{info.filename}", stream.read(_MAX_BYTES)


def _tar(name: str, data: Data) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data[:]), mode="r:") as archive:
        for number, member in enumerate(archive):
            if number > _MAX_MEMBERS:
                raise TooLargeError(name)
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield f"{name}!/{member.name}", content.read()
