"""Git objects of an image in a repository of our own: content crosses, no setting does."""

import hashlib
import os
import re
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path

from harness.environments.image_files import Data

PACK = b"PACK\x00\x00\x00"
LOOSE_NAME = re.compile(r"objects/([0-9a-f]{2})/([0-9a-f]{38})")
OBJECT_ID = re.compile(r"[0-9a-f]{40}")
_LOOSE = re.compile(rb"(commit|tree|blob|tag) [0-9]+\0")
_SECONDS = 1800
_MAX_LOOSE = 256 * 1024 * 1024


class UnreadableError(Exception):
    """Objects that cannot be read, so that nothing can be said about them."""


class ObjectStore:
    """A bare repository in a folder of ours that takes objects as untrusted bytes.

    Packs are indexed anew, so that an index that hides some of them hides nothing here. `borrows`
    makes the objects of another store available to thin packs.
    """

    def __init__(self, folder: Path, borrows: "ObjectStore | None" = None) -> None:
        self._folder = folder
        self._places: dict[str, str] = {}
        self.git("init", "--quiet", "--bare", "--template=", "--object-format=sha1", ".")
        if borrows is not None:
            alternates = folder / "objects" / "info" / "alternates"
            alternates.write_text(f"{borrows._folder / 'objects'}\n")

    def git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run git without any configuration but ours. Raises UnreadableError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_CEILING_DIRECTORIES": str(self._folder.parent),
        }
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=self._folder,
                env=env,
                input=stdin,
                capture_output=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise UnreadableError(f"git {arguments[0]} took over {_SECONDS} s") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise UnreadableError(f"git {arguments[0]}: {said[-1] if said else done.returncode}")
        return done.stdout

    def add_pack(self, data: Data, place: str) -> frozenset[str]:
        """Take a pack, thin or whole; the ids of its objects. Raises UnreadableError."""
        said = self.git("index-pack", "--stdin", "--fix-thin", stdin=data[:]).decode()
        index = self._folder / "objects" / "pack" / f"pack-{said.split()[-1]}.idx"
        shown = self.git("show-index", stdin=index.read_bytes()).decode()
        ids = frozenset(line.split(" ")[1] for line in shown.splitlines())
        self._places.update(dict.fromkeys(ids, place))
        return ids

    def add_loose(self, data: Data, place: str, name: str = "") -> str:
        """Take a loose object; its id. Raises UnreadableError when it is not that of its name."""
        content = inflate(data)
        if content is None:
            raise UnreadableError("not a loose object")
        found = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        if name and name != found:
            raise UnreadableError(f"the object is {found}, not what its name says")
        path = self._folder / "objects" / found[:2] / found[2:]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        self._places[found] = place
        return found

    def cut_at(self, commits: Iterable[str]) -> None:
        """Have the history end at commits, as a shallow clone's does."""
        (self._folder / "shallow").write_text("".join(f"{commit}\n" for commit in commits))

    def place(self, object_id: str) -> str:
        """The file of the image that an object was found in."""
        return self._places.get(object_id, "")

    def all(self) -> dict[str, str]:
        """Type by id of every object that is here or borrowed. Raises UnreadableError."""
        listed = self.git(
            "cat-file",
            "--batch-all-objects",
            "--unordered",
            "--batch-check=%(objectname) %(objecttype)",
        )
        return dict(line.split(" ", 1) for line in listed.decode().splitlines())

    def reached(self, commits: Iterable[str]) -> frozenset[str]:
        """All that commits reach. Raises UnreadableError when some of it is missing."""
        listed = self.git("rev-list", "--objects", *commits, "--")
        return frozenset(line.split(" ", 1)[0] for line in listed.decode().splitlines())

    def tree(self, commit: str) -> dict[str, tuple[str, str]]:
        """Mode and blob id by path of a commit's files. Raises UnreadableError."""
        found = {}
        for line in self.git("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")[:-1]:
            facts, _, path = line.partition(b"\t")
            mode, _, blob = facts.decode().split(" ")
            found[path.decode(errors="surrogateescape")] = (mode, blob)
        return found

    def blobs(self, ids: Iterable[str]) -> Iterable[tuple[str, bytes]]:
        """Id and content of objects, one after the other."""
        for each in ids:
            yield each, self.git("cat-file", "blob", each)

    def message(self, commit: str) -> bytes:
        """A commit's message. Raises UnreadableError."""
        return self.git("show", "-s", "--no-show-signature", "--format=%B", commit)

    def commit_facts(self, commit: str) -> tuple[tuple[str, ...], str]:
        """Parents and a line (date and subject) of a commit. Raises UnreadableError."""
        shown = self.git("show", "-s", "--no-show-signature", "--format=%P%n%cs %s", commit)
        parents, _, line = shown.decode(errors="replace").partition("\n")
        return tuple(parents.split()), line.strip()[:160]


def inflate(data: Data) -> bytes | None:
    """The content of a loose object, or None when the bytes are none."""
    if data[:1] != b"\x78":
        return None
    try:
        stream = zlib.decompressobj()
        head = stream.decompress(data[:256], 64)
        if not _LOOSE.match(head):
            return None
        rest = stream.decompress(stream.unconsumed_tail + data[256:], _MAX_LOOSE)
    except zlib.error:
        return None
    return head + rest
