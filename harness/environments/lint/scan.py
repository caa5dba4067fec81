"""One pass over an image's files: what the rules need of them."""

import hashlib
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

from harness.environments.image_files import Data, Entry
from harness.environments.lint.archives import TooLargeError, members
from harness.environments.lint.findings import Finding, Rule
from harness.environments.lint.git_rules import MAIN
from harness.environments.lint.needles import Needles
from harness.environments.lint.store import (
    LOOSE_NAME,
    PACK,
    ObjectStore,
    UnreadableError,
    inflate,
)

TESTBED = "/testbed"
_BUNDLE = re.compile(rb"# v[23] git bundle\n")
_METADATA = re.compile(r".*[.-](dist|egg)-info(/METADATA|/PKG-INFO)?|.*/EGG-INFO/PKG-INFO")
_TEXT = 1024 * 1024


@dataclass(frozen=True)
class Piece:
    """Git objects outside the main repository, copied to a file of ours."""

    path: str
    copy: IO[bytes]
    kind: str


@dataclass
class Scan:
    """What a pass found. Paths are those in the image, members of archives after a `!/`."""

    main: ObjectStore
    gold: Needles
    test: Needles
    git_names: dict[str, str] = field(default_factory=dict)
    git_files: dict[str, bytes] = field(default_factory=dict)
    elsewhere: dict[str, list[Piece]] = field(default_factory=lambda: defaultdict(list))
    blobs: dict[str, str] = field(default_factory=dict)
    plain_blobs: dict[str, str] = field(default_factory=dict)
    gold_lines: dict[str, frozenset[bytes]] = field(default_factory=dict)
    test_lines: dict[str, frozenset[bytes]] = field(default_factory=dict)
    metadata: dict[str, tuple[str, str]] = field(default_factory=dict)
    host: list[Entry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def take(self, entries: Iterable[Entry], config: str) -> None:
        """Look at every entry of an image and at what the image says beside its files."""
        self.look("<image configuration>", config.encode())
        for entry in entries:
            if entry.host:
                if entry.path.endswith((".pack", ".bundle")):
                    self.look(entry.path, entry.read())
                else:
                    self.host.append(entry)
            elif entry.path == MAIN and entry.kind != "folder":
                self._unreadable(MAIN, f"the git folder is a {entry.kind}")
            elif entry.path.startswith(f"{MAIN}/"):
                self._take_git(entry)
            elif entry.kind == "file":
                self.look(entry.path, entry.read(), unpack=True)
            elif entry.kind == "hard link" and entry.target in self.blobs:
                self.blobs[entry.path] = self.blobs[entry.target]
            elif entry.kind == "link" and entry.path.startswith(f"{TESTBED}/"):
                self.blobs[entry.path] = blob_id(entry.target.encode(errors="surrogateescape"))

    def look(self, path: str, data: Data, *, unpack: bool = False) -> None:
        """Look at one file's content, and with `unpack` at what is packed in it."""
        if data[:4] != b"\x7fELF":
            self._remember(path, data)
        if data[: len(PACK)] == PACK:
            self._set_aside(path, data, "pack")
        elif _BUNDLE.match(data[:20]):
            self._set_aside(path, data, "bundle")
        elif data[:1] == b"\x78" and inflate(data) is not None:
            self._set_aside(path, data, "loose")
        elif unpack:
            try:
                for inner, content in members(path, data):
                    self.look(inner, content)
            except TooLargeError:
                self._unreadable(path, "an archive too large to be looked through", Rule.OTHER_COPY)

    def _remember(self, path: str, data: Data) -> None:
        inside = path.startswith(f"{TESTBED}/")
        if inside or path.endswith(".py"):
            self.blobs[path] = blob_id(data)
            if inside and data.find(b"\r\n") >= 0:
                self.plain_blobs[path] = blob_id(data[:].replace(b"\r\n", b"\n"))
        if _METADATA.fullmatch(path):
            self.metadata[path] = _name_and_version(data)
        for needles, found in ((self.gold, self.gold_lines), (self.test, self.test_lines)):
            if lines := needles.find(data, all_lines=inside):
                found[path] = lines

    def _take_git(self, entry: Entry) -> None:
        name = entry.path.removeprefix(f"{MAIN}/")
        self.git_names[name] = entry.kind
        if entry.kind == "hard link":
            data: Data | None = self._seen(entry.target)
            if data is None and not name.endswith((".idx", ".rev")):
                self._unreadable(entry.path, f"a hard link to {entry.target}")
        else:
            data = entry.read() if entry.kind == "file" else None
        if data is None:
            return
        loose = LOOSE_NAME.fullmatch(name)
        try:
            if loose:
                self.main.add_loose(data, entry.path, "".join(loose.groups()))
            elif data[: len(PACK)] == PACK:
                self.main.add_pack(data, entry.path)
            elif _BUNDLE.match(data[:20]) or inflate(data) is not None:
                self.look(entry.path, data)
            elif not name.startswith("objects/pack/"):
                self._remember(entry.path, data)
                self.git_files[name] = data[:_TEXT]
        except UnreadableError as error:
            self._unreadable(entry.path, str(error))

    def _seen(self, path: str) -> bytes | None:
        """The content of git objects that were set aside before."""
        for piece in self.elsewhere.get(path.partition("/objects/")[0], ()):
            if piece.path == path:
                piece.copy.seek(0)
                return piece.copy.read()
        return None

    def _set_aside(self, path: str, data: Data, kind: str) -> None:
        copy = tempfile.TemporaryFile()  # noqa: SIM115
        copy.write(data)
        self.elsewhere[path.partition("/objects/")[0]].append(Piece(path, copy, kind))

    def _unreadable(self, path: str, detail: str, rule: Rule = Rule.GIT_UNREADABLE) -> None:
        self.findings.append(Finding(rule=rule, severity="error", path=path, detail=detail))


def blob_id(data: Data) -> str:
    """git's name of a file's content."""
    header = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    header.update(data)
    return header.hexdigest()


def _name_and_version(data: Data) -> tuple[str, str]:
    found = {"name": "", "version": ""}
    for line in data[:_TEXT].decode(errors="replace").splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            break
        if key.lower() in found:
            found[key.lower()] = value.strip()
    return found["name"], found["version"]
