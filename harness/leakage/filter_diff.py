"""What a gold patch touches, read strictly: a diff that is not understood whole is malformed."""

import hashlib
import posixpath
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

MAX_CHARACTERS = 16 * 1024 * 1024
_MAX_PATH = 4096

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_NAMES = ("rename from ", "rename to ", "copy from ", "copy to ")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES = {b"a": 7, b"b": 8, b"f": 12, b"n": 10, b"r": 13, b"t": 9, b"v": 11}
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_QUOTED_PAIR = re.compile(rf"({_QUOTED}|\S+) ({_QUOTED}|\S+)")
_PREFIXES = {"a/": "b/", "c/": "i/", "i/": "w/", "o/": "w/"}  # git's own, see diff.mnemonicPrefix
_EXTENDED = re.compile(
    r"(?:index |old mode |new mode |deleted file mode |new file mode |similarity index |"
    r"dissimilarity index |Binary files |Index: |={20,}$|\\ )"
)


class MalformedDiffError(ValueError):
    """A text is no unified diff; says in which line what was found."""


@dataclass(frozen=True, slots=True)
class TouchedPaths:
    """What a diff touches.

    `paths` has the old and the new path of every file, as written, by `path_key`. `digest` is of
    the diff without blob ids and line numbers.
    """

    paths: dict[str, str]
    digest: str


def path_key(path: str) -> str:
    """What equal paths have in common: no `./` or `//`, one Unicode form, no letter case.

    Raises MalformedDiffError for a path that is empty, absolute or leads outside.
    """
    plain = path.replace("\\", "/")
    normal = posixpath.normpath(plain) if plain else ""
    if not normal or normal == "." or normal.startswith(("/", "../")) or normal == "..":
        raise MalformedDiffError(f"the path {path[:200]!r} leads outside the repository")
    if len(path) > _MAX_PATH or "\0" in path:
        raise MalformedDiffError(f"the path {path[:200]!r} is none")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", normal).casefold())


def touched_paths(patch: str) -> TouchedPaths:
    """The paths that a unified diff touches: changed, created, removed, renamed, copied.

    Raises MalformedDiffError: no file, a hunk that is cut off or longer than it says, a path that
    leads outside, over 16M characters.
    """
    if len(patch) > MAX_CHARACTERS:
        raise MalformedDiffError(f"{len(patch)} characters, over {MAX_CHARACTERS}")
    paths: dict[str, str] = {}
    digest = hashlib.sha256()
    for path in _paths(patch.split("\n"), digest):
        paths.setdefault(path_key(path), path)
    if not paths:
        raise MalformedDiffError("no file is named: neither `diff --git` nor `---` and `+++`")
    return TouchedPaths(paths, digest.hexdigest())


def _paths(lines: list[str], digest: "hashlib._Hash") -> Iterator[str]:
    at, in_file, binary = 0, False, False
    while at < len(lines):
        line = lines[at].rstrip("\r")
        if not line.startswith(("index ", "@@ ")):
            digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
        if line.startswith("diff --git "):
            yield from _of_header(line.removeprefix("diff --git "), at)
            in_file, binary = True, False
        elif line.startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ "):
            at += 1
            new = lines[at].rstrip("\r")
            digest.update(new.encode("utf-8", "surrogatepass") + b"\n")
            yield from _of_sides(_name(line[4:], at), _name(new[4:], at + 1))
            in_file, binary = True, False
        elif line.startswith("@@ "):
            if not in_file:
                raise MalformedDiffError(f"line {at + 1}: a hunk of no file")
            end = _hunk_end(lines, at)
            for one in lines[at + 1 : end]:
                digest.update(one.encode("utf-8", "surrogatepass") + b"\n")
            at = end
            continue
        elif line.startswith(_NAMES):
            yield _unquoted(line.split(" ", 2)[2], at)
        elif line.startswith("GIT binary patch"):
            binary = True
        elif line == "-- ":  # a mail's signature, as of git format-patch
            in_file = False
        elif in_file and line and not binary and not _EXTENDED.match(line):
            raise MalformedDiffError(f"line {at + 1}: unexpected {line[:80]!r}")
        at += 1


def _hunk_end(lines: list[str], at: int) -> int:
    """The line after a hunk, by the counts in its header."""
    header = _HUNK.match(lines[at])
    if header is None:
        raise MalformedDiffError(f"line {at + 1}: no hunk header: {lines[at][:80]!r}")
    old, new = (int(count) if count is not None else 1 for count in header.groups())
    begin, last = at + 1, len(lines) - 1
    at = begin
    while old > 0 or new > 0:
        if at >= len(lines) or (at == last and not lines[at]):
            raise MalformedDiffError(f"line {begin}: the hunk is cut off: {old} old and {new} new "
                                     "lines are missing")  # fmt: skip
        kind = lines[at][:1]
        if kind not in ("", "\r", " ", "+", "-", "\\"):
            raise MalformedDiffError(f"line {at + 1}: no line of a hunk: {lines[at][:80]!r}")
        old -= kind not in ("+", "\\")
        new -= kind not in ("-", "\\")
        at += 1
    if old < 0 or new < 0:
        raise MalformedDiffError(f"line {begin}: the hunk has other lines than its header says")
    return at


def _of_header(names: str, at: int) -> Iterator[str]:
    """The paths of a `diff --git` line; where it is ambiguous, other lines name them."""
    if '"' in names:
        pair = _QUOTED_PAIR.fullmatch(names)
        if pair is None:
            raise MalformedDiffError(f"line {at + 1}: two names expected: {names[:80]!r}")
        yield from _of_sides(_unquoted(pair[1], at), _unquoted(pair[2], at))
        return
    # Without renames both names are the same, so the line is cut in its middle.
    middle = len(names) // 2
    old, new = names[:middle], names[middle + 1 :]
    if names[middle : middle + 1] == " " and _bare(old, new)[0] == _bare(old, new)[1]:
        yield from _of_sides(old, new)
    elif names.count(" ") == 1:
        yield from _of_sides(*names.split(" "))


def _of_sides(old: str | None, new: str | None) -> Iterator[str]:
    if old is not None and new is not None:
        yield from dict.fromkeys(_bare(old, new))
    elif (path := old or new) is not None:
        yield path[2:] if path[:2] in {*_PREFIXES, *_PREFIXES.values()} else path


def _bare(old: str, new: str) -> tuple[str, str]:
    """Two names without git's prefixes, which stand on both sides or on none."""
    if _PREFIXES.get(old[:2]) == new[:2] or (old[:2], new[:2]) == ("c/", "w/"):
        return old[2:], new[2:]
    return old, new


def _name(text: str, at: int) -> str | None:
    """The name in a `---` or `+++` line; None for /dev/null."""
    name = _unquoted(text.split("\t", 1)[0].rstrip(), at)
    return None if name == "/dev/null" else name


def _unquoted(name: str, at: int) -> str:
    """A name as git quotes it: octal bytes and C escapes."""
    if not name.startswith('"'):
        return name
    if re.fullmatch(_QUOTED, name) is None:
        raise MalformedDiffError(f"line {at + 1}: a quote is not closed: {name[:80]!r}")

    def byte(match: re.Match[bytes]) -> bytes:
        found = match[1]
        return bytes([int(found, 8) & 255 if found.isdigit() and len(found) == 3 else
                      _ESCAPES.get(found, found[0])])  # fmt: skip

    content = _ESCAPE.sub(byte, name[1:-1].encode("utf-8", "surrogatepass"))
    return content.decode("utf-8", "surrogateescape")
