"""Bytes of a Python file to text: byte order marks, PEP 263 cookies, Latin-1."""

import codecs
import re

SLOW_CODECS = frozenset({"idna", "punycode"})  # quadratic, and nobody writes Python in them
COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)


class UnreadableSourceError(ValueError):
    """A file is no Python text; the message says why."""


def decode(data: bytes) -> tuple[str, str | None]:
    """The text, and what had to be assumed about it, if anything.

    Raises UnreadableSourceError for binary content.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnreadableSourceError("is UTF-16, which Python does not read")
    if b"\0" in data:
        raise UnreadableSourceError("has NUL bytes: it is binary")
    if data.startswith(codecs.BOM_UTF8):
        return data[3:].decode("utf-8", errors="replace"), None
    name = _declared(data)
    try:
        if name and codecs.lookup(name).name in SLOW_CODECS:
            raise LookupError(name)
        return data.decode(name or "utf-8"), None
    except (LookupError, UnicodeError, ValueError):
        said = f"is not {name}, as it declares" if name else "is not UTF-8 and declares no encoding"
        return data.decode("latin-1"), f"{said}: read as Latin-1"


def _declared(data: bytes) -> str | None:
    for line in data.split(b"\n", 2)[:2]:
        if match := COOKIE.match(line):
            return match[1].decode("ascii")
        if line.strip() and not line.lstrip().startswith(b"#"):
            return None
    return None
