"""Unified diffs as data: their files and hunks, and applying them in memory."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pi_extractors.base import ExtractionError
from pi_extractors.snapshot_files import printable, unusable

if TYPE_CHECKING:
    from unidiff.patch import Hunk, PatchedFile

_MAX_CHARACTERS = 16 * 1024 * 1024
_MAX_HUNKS = 10_000
_MAX_AWAY = 2000  # lines
_ESCAPE = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "a": b"\a", "b": b"\b", "f": b"\f", "v": b"\v"}


def parse_diff(text: str, name: str) -> "list[PatchedFile]":
    """The files of a unified diff, in order; `name` is what errors call it.

    Raises ExtractionError for text that is no diff, a malformed hunk, or over 16M characters.
    """
    from unidiff.errors import UnidiffParseError
    from unidiff.patch import PatchSet

    if len(text) > _MAX_CHARACTERS:
        raise ExtractionError(f"{name}: {len(text)} characters, over {_MAX_CHARACTERS}")
    try:
        files = list(PatchSet(text))
    except (UnidiffParseError, ValueError, IndexError) as error:
        said = printable(str(error))[:200]
        raise ExtractionError(f"{name}: malformed unified diff: {said}") from None
    if not files:
        raise ExtractionError(f"{name}: no unified diff: it names no file")
    return files


def old_path(file: "PatchedFile") -> str | None:
    """The path before the change; None for a new file. Raises ExtractionError for a hostile one."""
    return None if file.is_added_file else _path(file.source_file)


def new_path(file: "PatchedFile") -> str | None:
    """The path after the change; None when removed. Raises ExtractionError for a hostile one."""
    return None if file.is_removed_file else _path(file.target_file)


def apply_to(content: bytes, file: "PatchedFile", *, reverse: bool = False) -> bytes:
    """A file's content with its hunks applied, or undone, wherever their lines are, nearest first.

    Raises ExtractionError naming the first hunk whose lines are nowhere.
    """
    lines = _lines(content)
    result: list[str] = []
    done = 0
    if len(file) > _MAX_HUNKS:
        raise ExtractionError(f"{_path(file.path)}: {len(file)} hunks, over {_MAX_HUNKS}")
    for number, hunk in enumerate(file, start=1):
        sides = _sides(hunk)
        old, new = reversed(sides) if reverse else sides
        stated = hunk.target_start if reverse else hunk.source_start
        start = _find(lines, old, done, stated - 1 if old else stated)
        if start is None:
            raise ExtractionError(f"{_path(file.path)}: hunk {number} does not apply")
        result += [*lines[done:start], *new]
        done = start + len(old)
    result += lines[done:]
    return "".join(result).encode("utf-8", "surrogateescape")


def added_lines(file: "PatchedFile") -> bytes:
    """The content of a file that a diff creates."""
    return "".join("".join(_sides(hunk)[1]) for hunk in file).encode("utf-8", "surrogatepass")


def _lines(content: bytes) -> list[str]:
    text = content.decode("utf-8", "surrogateescape")
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _sides(hunk: "Hunk") -> tuple[list[str], list[str]]:
    """A hunk's old and new lines, each with its line break unless the diff says otherwise."""
    sides: tuple[list[str], list[str]] = ([], [])
    last: tuple[list[str], ...] = ()
    for line in hunk:
        if line.line_type == "\\":
            for side in last:
                side[-1] = side[-1].removesuffix("\n")
            continue
        last = {"-": sides[:1], "+": sides[1:]}.get(line.line_type, sides)
        for side in last:
            side.append(line.value if line.value.endswith("\n") else f"{line.value}\n")
    return sides


def _find(lines: Sequence[str], wanted: Sequence[str], first: int, hint: int) -> int | None:
    """Where lines stand, at or after `first`, nearest to a hint; white space at line ends aside."""
    bare = [line.rstrip() for line in wanted]
    last = len(lines) - len(wanted)
    hint = max(first, min(hint, last))
    for away in range(_MAX_AWAY):
        for start in dict.fromkeys((hint + away, hint - away)):
            if first <= start <= last and all(
                lines[start + offset].rstrip() == line for offset, line in enumerate(bare)
            ):
                return start
    return None


def _path(name: str) -> str:
    if name.startswith('"') and name.endswith('"'):
        name = _unquote(name[1:-1])
    path = name[2:] if name[:2] in ("a/", "b/") else name
    if reason := unusable(path):
        raise ExtractionError(f"{printable(path)}: {reason}")
    return path


def _unquote(name: str) -> str:
    """A name as git quotes it: octal bytes and C escapes."""
    parts = _ESCAPE.split(name)
    content = b""
    for place, part in enumerate(parts):
        if place % 2 == 0:
            content += part.encode()
        elif part.isdigit():
            content += bytes([int(part, 8) & 255])
        else:
            content += _ESCAPES.get(part, part.encode())
    return content.decode("utf-8", "surrogateescape")
