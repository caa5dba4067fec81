"""The files of an image, read from outside: nothing of the image runs, so nothing of it can lie."""

import io
import mmap
import os
import secrets
import socket
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol

from harness.environments.build_container import NAME
from harness.environments.engine import connect, find_image, image_id
from harness.environments.errors import ImageError
from harness.sandboxes.base import ImageMissingError

Kind = Literal["file", "folder", "link", "hard link", "other"]
Data = bytes | mmap.mmap

_IN_MEMORY = 32 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One name in an image's file system. Its content can be read until the next one is asked for.

    `host`: not the image's own, but a folder of this machine that process sandboxes see.
    """

    path: str
    kind: Kind
    mode: int
    target: str = ""
    host: bool = False
    open: Callable[[], IO[bytes]] | None = None

    def read(self) -> Data:
        """The content of a file; a large one is mapped from a temporary copy."""
        if self.open is None:
            return b""
        with self.open() as stream:
            head = stream.read(_IN_MEMORY)
            if len(head) < _IN_MEMORY:
                return head
            with tempfile.TemporaryFile() as copy:
                copy.write(head)
                while block := stream.read(_IN_MEMORY):
                    copy.write(block)
                copy.flush()
                return mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)


class ImageFiles(Protocol):
    """What there is to read of an image."""

    @property
    def digest(self) -> str:
        """The image's content digest (`sha256:…`)."""
        ...

    @property
    def config(self) -> str:
        """What the image says beside its files: environment, labels, commands."""
        ...

    def fingerprint(self) -> str:
        """What changes when a file does. Raises ImageMissingError."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Every name once; a hard link after what it links to. Raises ImageError."""
        ...


def open_image(image: str, kind: str) -> ImageFiles:
    """The image of that reference, `docker` or `process`. Raises ImageMissingError."""
    if kind == "process":
        from harness.environments.process_files import ProcessFiles

        return ProcessFiles(Path(image))
    return DockerFiles(image)


class DockerFiles:
    """An image of the Docker engine, exported from a container that is never started."""

    def __init__(self, image: str) -> None:
        self._client = connect()
        found = find_image(self._client, image)
        if found is None:
            raise ImageMissingError(f"the Docker engine has no image {image}")
        self.digest = image_id(found)
        self.config = repr(found.attrs.get("Config"))

    def fingerprint(self) -> str:
        """See `ImageFiles.fingerprint`: an image's id is that of its content."""
        return self.digest

    def entries(self) -> Iterator[Entry]:
        """See `ImageFiles.entries`."""
        from docker.errors import DockerException, NotFound

        api = self._client.api
        try:
            container = api.create_container(
                self.digest,
                ["true"],
                network_disabled=True,
                name=f"{NAME}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}",
            )["Id"]
            try:
                with (
                    closing(ChunkStream(api.export(container))) as stream,
                    tarfile.open(fileobj=stream, mode="r|") as tar,
                ):
                    for member in tar:
                        yield _from_tar(tar, member)
            finally:
                with suppress(NotFound):
                    api.remove_container(container, force=True, v=True)
        except (DockerException, tarfile.TarError) as error:
            raise ImageError(f"{self.digest}: the files cannot be read: {error}") from error


def _from_tar(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    name = "/" + member.name.removeprefix("./").strip("/")
    mode = stat.S_IMODE(member.mode)
    if member.issym():
        return Entry(name, "link", mode, member.linkname)
    if member.islnk():
        return Entry(name, "hard link", mode, "/" + member.linkname.removeprefix("./").strip("/"))
    if member.isdir():
        return Entry(name, "folder", mode)
    if member.isfile():
        return Entry(name, "file", mode, open=lambda: _member(tar, member))
    return Entry(name, "other", mode)


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    return tar.extractfile(member) or io.BytesIO()


class ChunkStream(io.RawIOBase):
    """A generator of chunks as a stream that tarfile can read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        parts = []
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            part = self._rest[:size] if size > 0 else self._rest
            self._rest = self._rest[len(part) :]
            parts.append(part)
            size -= len(part) if size > 0 else 0
        return b"".join(parts)
