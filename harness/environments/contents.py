"""What an image holds, by hash: the work tree, its git state, the environment, its packages.

Left out of the hashes, because it differs between two builds of one recipe and changes nothing:
the time of the source in a compiled file's header, git's index (inode numbers and times) and its
copy of the last commit's message, and the notes of who installed a distribution (`INSTALLER`,
`REQUESTED`, `RECORD`, `direct_url.json`). Of process images also what names a place of this machine
(`pyvenv.cfg`, absolute links), and the bits of a mode that follow the builder's umask.
"""

import hashlib
import json
import re
import struct
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field

from harness.environments.base_images import PREFIX
from harness.environments.errors import ImageError
from harness.environments.image_files import Data, Entry, ImageFiles
from harness.environments.lint.store import LOOSE_NAME, PACK, ObjectStore, UnreadableError
from harness.records import Record
from harness.sandboxes.base import WORKDIR

_GIT = f"{WORKDIR}/.git"
_ENVIRONMENT = f"{PREFIX}/envs/testbed"
_METADATA = re.compile(
    rf"{_ENVIRONMENT}/lib/[^/]+/site-packages/[^/]+\.(dist-info/METADATA|egg-info/PKG-INFO|egg-info)"
)
_INSTALLER_NOTES = re.compile(r".*\.dist-info/(INSTALLER|REQUESTED|RECORD|direct_url\.json)")
_PASSING = ("index", "COMMIT_EDITMSG")
_PYTHON = re.compile(rb"^version(?:_info)? = (.*)$", re.MULTILINE)
_PYC_HEADER = struct.Struct("<4sI8s")


class Contents(Record):
    """The hashes of an image's contents, and per file what they were made of."""

    tree: str = Field(description="Of /testbed without .git: path, mode, content, link target.")
    git: str = Field(description="Of HEAD, refs, settings, hooks and the set of objects.")
    environment: str = Field(description="Of the Python environment that tests run in.")
    python: str = ""
    packages: tuple[str, ...] = Field(description="name==version in the environment.")
    system_packages: tuple[str, ...] = Field(description="name=version of Debian's.")
    tree_files: dict[str, str] = Field(default_factory=dict, repr=False)
    git_files: dict[str, str] = Field(default_factory=dict, repr=False)
    environment_files: dict[str, str] = Field(default_factory=dict, repr=False)


def read_contents(files: ImageFiles, *, umask: bool = False) -> Contents:
    """Read an image from outside. `umask`: modes are the builder's, only the owner's bits count.

    Raises ImageError when a part cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="harness-contents-") as folder:
        reader = _Reader(ObjectStore(Path(folder)), 0o700 if umask else 0o7777)
        try:
            for entry in files.entries():
                reader.take(entry)
            return reader.contents()
        except UnreadableError as error:
            raise ImageError(f"{files.digest}: {error}") from None


class _Reader:
    """One pass over the entries of an image."""

    def __init__(self, store: ObjectStore, mode: int) -> None:
        self._store = store
        self._mode = mode
        self._tree: dict[str, str] = {}
        self._git: dict[str, str] = {}
        self._environment: dict[str, str] = {}
        self._packages: set[str] = set()
        self._system: tuple[str, ...] = ()
        self._python = ""

    def take(self, entry: Entry) -> None:
        if entry.host:
            return
        path = entry.path
        if path.startswith(f"{_GIT}/"):
            self._take_git(path.removeprefix(f"{_GIT}/"), entry)
        elif path == WORKDIR or path.startswith(f"{WORKDIR}/"):
            self._tree[path.removeprefix(WORKDIR) or "/"] = self._facts(entry, entry.read())
        elif path.startswith(f"{_ENVIRONMENT}/"):
            self._take_environment(path.removeprefix(_ENVIRONMENT), entry)
        elif path == "/var/lib/dpkg/status":
            self._system = tuple(sorted(_debian(entry.read()[:])))

    def contents(self) -> Contents:
        objects = sorted(self._store.all())
        self._git["objects"] = _sha256("\n".join(objects).encode()) + f" ({len(objects)})"
        return Contents(
            tree=_digest(self._tree),
            git=_digest(self._git),
            environment=_digest(self._environment),
            python=self._python,
            packages=tuple(sorted(self._packages, key=str.lower)),
            system_packages=self._system,
            tree_files=self._tree,
            git_files=self._git,
            environment_files=self._environment,
        )

    def _take_git(self, name: str, entry: Entry) -> None:
        data = entry.read()
        if LOOSE_NAME.fullmatch(name):
            self._store.add_loose(data, name, "".join(name.split("/")[1:]))
        elif data[: len(PACK)] == PACK:
            self._store.add_pack(data, name)
        elif (
            entry.kind != "folder" and name not in _PASSING and not name.startswith("objects/pack/")
        ):
            self._git[name] = self._facts(entry, data)

    def _take_environment(self, name: str, entry: Entry) -> None:
        data = entry.read()
        if _METADATA.fullmatch(entry.path) and entry.kind == "file":
            self._packages.add(_name_and_version(data[:].decode(errors="replace")))
        if name == "/pyvenv.cfg" and (found := _PYTHON.search(data[:])):
            self._python = found.group(1).decode(errors="replace").strip()
        own_machine = self._mode == 0o700 and (
            name == "/pyvenv.cfg" or (entry.kind == "link" and entry.target.startswith("/"))
        )
        if not own_machine and not _INSTALLER_NOTES.fullmatch(name):
            self._environment[name] = self._facts(entry, data)

    def _facts(self, entry: Entry, data: Data) -> str:
        if entry.kind in ("link", "hard link"):
            return f"{entry.kind} {entry.target}"
        mode = f"{entry.mode & self._mode:o}"
        if entry.kind != "file":
            return f"{entry.kind} {mode}"
        return f"file {mode} {_sha256(_without_time(entry.path, data))}"


def differing(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Paths that two images do not hold alike, `-` only the first, `+` only the second."""
    return [
        f"{'-' if path not in second else '+' if path not in first else '!'} {path}"
        for path in sorted(first.keys() | second.keys())
        if first.get(path) != second.get(path)
    ]


def _without_time(path: str, data: Data) -> Data:
    """A compiled file as if its source had been written at the beginning of time."""
    if not path.endswith(".pyc") or len(data) < _PYC_HEADER.size:
        return data
    magic, flags, _ = _PYC_HEADER.unpack_from(data)
    return data if flags else _PYC_HEADER.pack(magic, flags, b"") + data[_PYC_HEADER.size :]


def _name_and_version(metadata: str) -> str:
    fields = dict(_fields(metadata.partition("\n\n")[0]))
    return f"{fields.get('Name', '?')}=={fields.get('Version', '?')}"


def _debian(status: bytes) -> Iterator[str]:
    for paragraph in status.decode(errors="replace").split("\n\n"):
        fields = dict(_fields(paragraph))
        if fields.get("Status", "").endswith(" installed"):
            yield f"{fields['Package']}={fields['Version']}"


def _fields(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        key, colon, value = line.partition(": ")
        if colon and not key.startswith((" ", "\t")):
            yield key, value.strip()


def _digest(facts: dict[str, str]) -> str:
    return "sha256:" + _sha256(json.dumps(facts, sort_keys=True).encode())


def _sha256(data: Data) -> str:
    return hashlib.sha256(data).hexdigest()
