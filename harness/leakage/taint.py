"""Finds canaries in bytes: verbatim, broken up, escaped, encoded, and packed."""

import base64
import binascii
import codecs
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from harness.leakage.ledger import PREFIX_CHARACTERS, Planted

_LENGTH = 26  # of a canary; `ledger` says why
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_KEPT = _LETTERS + _LETTERS.upper() + b"0123456789"
_DROPPED = bytes(byte for byte in range(256) if byte not in _KEPT)
_SPACE = b" \t\r\n\\"
# Line ends that JSON or a program's text writes as two characters, however often escaped.
_WRITTEN_SPACE = (b"\\n", b"\\r", b"\\t")
# A letter or digit as \x63, \u0063, %63, =63, &#x63; or &#99;.
_ESCAPED = re.compile(rb"(?:\\x|\\u00|%|=|&#x)([3-7][0-9A-Fa-f]);?|&#(\d{2,3});")
_ESCAPED_FIRST = (b"\\x71", b"\\u0071", b"%71", b"=71", b"&#x71", b"&#113")
_PACKED = re.compile(rb"(?:H4sI|eJ[wxyz0-9])[A-Za-z0-9+/_-]{24,}")
_PACKED_HEX = re.compile(rb"(?:1f8b08|789c|78da)[0-9a-f]{40,}")
_MOST_UNPACKED = 4 * 1024 * 1024
_MOST_PACKED = 64  # in one piece of text


class Sighting(NamedTuple):
    """A canary in some bytes. `planted` is None for one that is cut off or of no known field."""

    planted: Planted | None
    encoding: str
    offset: int | None  # of verbatim ones


@dataclass(frozen=True)
class _Form:
    """How a canary looks in one encoding: what its prefix becomes, and how to read the rest."""

    name: str
    needle: bytes
    length: int
    decode: Callable[[bytes], bytes]
    folded: bool  # in text whose letters were made lower-case


class Scanner:
    """Searches for the canaries of one ledger, in a time that does not depend on their number."""

    def __init__(self, prefix: str, planted: Mapping[str, Planted]) -> None:
        """`planted` by canary; all begin with the prefix."""
        if len(prefix) != PREFIX_CHARACTERS:
            raise ValueError(f"{prefix!r} is no prefix of {PREFIX_CHARACTERS} characters")
        self._prefix = prefix.encode()
        self._planted = planted
        self._forms = tuple(_forms(self._prefix))

    def scan(self, data: bytes) -> list[Sighting]:
        """The canaries in some bytes, each once by its plainest encoding; a cut one only alone.

        A few megabytes at a time are best: memory is some five times as many.
        """
        found: dict[str, Sighting] = {}
        at = data.find(self._prefix)
        while at >= 0:
            self._note(found, data[at : at + _LENGTH], "verbatim", at)
            at = data.find(self._prefix, at + 1)
        plain = data
        if (b"71" in data or b"113" in data) and any(first in data for first in _ESCAPED_FIRST):
            plain = _ESCAPED.sub(_unescape, data)
        for written in _WRITTEN_SPACE:
            plain = plain.replace(written, b"")
        kept = plain.translate(None, _DROPPED)
        folded = kept.lower()
        for form in self._forms:
            self._look(found, folded if form.folded else kept, form)
        for unpacked in _unpacked(plain.translate(None, _SPACE), folded):
            at = unpacked.find(self._prefix)
            while at >= 0:
                self._note(found, unpacked[at : at + _LENGTH], "packed", None)
                at = unpacked.find(self._prefix, at + 1)
        if len(found) > 1:
            found.pop("", None)
        return list(found.values())

    def _look(self, found: dict[str, Sighting], data: bytes, form: _Form) -> None:
        at = data.find(form.needle)
        while at >= 0:
            start = at if form.name != "reversed" else max(0, at + len(form.needle) - form.length)
            text = form.decode(data[start : start + form.length])
            place = text.find(self._prefix)
            if place < 0 and form.name.startswith("base"):  # the needle lacks the first letters
                text = self._prefix + text.partition(self._prefix[3:])[2]
                place = 0
            self._note(found, text[place : place + _LENGTH] if place >= 0 else b"", form.name, None)
            at = data.find(form.needle, at + 1)

    def _note(
        self, found: dict[str, Sighting], text: bytes, encoding: str, offset: int | None
    ) -> None:
        planted = self._planted.get(text.decode(errors="replace"))
        key = planted.canary if planted else ""
        found.setdefault(key, Sighting(planted, encoding, offset))


def _forms(prefix: bytes) -> Iterator[_Form]:
    yield _Form("broken up", prefix, _LENGTH, bytes, folded=True)
    yield _Form("reversed", prefix[::-1], _LENGTH, lambda text: text[::-1], folded=True)
    yield _Form("rot13", _rot13(prefix), _LENGTH, _rot13, folded=True)
    yield _Form("hex", prefix.hex().encode(), 2 * _LENGTH, _unhex, folded=True)
    yield _Form(
        "hex of UTF-16", _wide(prefix).hex().encode()[:-2], 4 * _LENGTH, _unhex_wide, folded=True
    )
    for skipped in range(3):
        yield _base64(prefix, skipped)
    for skipped in range(5):
        yield _base32(prefix, skipped)


def _base64(prefix: bytes, skipped: int) -> _Form:
    """The form in base64 where so many bytes before the canary share a group of three with it."""
    first = (0, 2, 3)[skipped]
    encoded = base64.b64encode(bytes(skipped) + prefix)
    whole = (skipped + len(prefix)) * 8 // 6
    return _Form(
        "base64",
        encoded[first:whole],
        _LENGTH * 4 // 3 + 1,
        partial(_from_base64, b"A" * first),
        folded=False,
    )


def _from_base64(before: bytes, text: bytes) -> bytes:
    whole = before + text
    return base64.b64decode(whole + b"A" * (-len(whole) % 4))


def _base32(prefix: bytes, skipped: int) -> _Form:
    first = (0, 2, 4, 5, 7)[skipped]
    encoded = base64.b32encode(bytes(skipped) + prefix)
    whole = (skipped + len(prefix)) * 8 // 5
    return _Form(
        "base32",
        encoded[first:whole].lower(),
        _LENGTH * 8 // 5 + 1,
        partial(_from_base32, b"A" * first),
        folded=True,
    )


def _from_base32(before: bytes, text: bytes) -> bytes:
    whole = before + text.upper()
    try:
        return base64.b32decode(whole + b"A" * (-len(whole) % 8))
    except binascii.Error:
        return b""


def _rot13(text: bytes) -> bytes:
    return codecs.encode(text.decode("latin-1"), "rot13").encode("latin-1")


def _wide(text: bytes) -> bytes:
    return text.decode().encode("utf-16-le")


def _unhex(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(text[: len(text) // 2 * 2])
    except binascii.Error:
        return b""


def _unhex_wide(text: bytes) -> bytes:
    return _unhex(text).replace(b"\0", b"")


def _unescape(found: re.Match[bytes]) -> bytes:
    number = int(found[1], 16) if found[1] else int(found[2])
    return bytes([number]) if number < 128 else found[0]


def _unpacked(text: bytes, folded: bytes) -> Iterator[bytes]:
    """What gzip or zlib made of something, before base64 or hex made text of it."""
    count = 0
    if b"H4sI" in text or b"eJ" in text:
        for packed in _PACKED.finditer(text):
            if (count := count + 1) > _MOST_PACKED:
                return
            run = packed[0].translate(bytes.maketrans(b"-_", b"+/"))
            yield _inflate(base64.b64decode(run[: len(run) // 4 * 4]))
    if b"1f8b08" in folded or b"789c" in folded or b"78da" in folded:
        for packed in _PACKED_HEX.finditer(folded):
            if (count := count + 1) > _MOST_PACKED:
                return
            yield _inflate(_unhex(packed[0]))


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(data, _MOST_UNPACKED)
    except zlib.error:
        return b""
