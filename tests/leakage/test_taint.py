"""Canaries are found whatever was done to them, and nothing else is."""

import base64
import bz2
import codecs
import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.leakage.ledger import How, Planted, canary, prefix
from harness.leakage.taint import Scanner, Sighting

SEED = "cd" * 32
FIELDS = [(f"owner__pkg-{n}", field) for n in range(200) for field in ("patch", "test_patch")]
PLANTED = {
    canary(SEED, name, field): Planted(
        canary=canary(SEED, name, field),
        instance_id=name,
        field=field,
        how=How.COMMENT,
        sha256="",
    )
    for name, field in FIELDS
}
SCANNER = Scanner(prefix(SEED), PLANTED)
CANARY = canary(SEED, "owner__pkg-7", "patch")
TEXT = f"    # {CANARY}\n    return a + b  # ünicode\n".encode()


def names(found: list[Sighting]) -> list[str]:
    return [each.planted.name if each.planted else "cut" for each in found]


def mime(data: bytes) -> bytes:
    return base64.encodebytes(b"x" * 40 + data)


def in_json(data: bytes) -> bytes:
    return json.dumps({"a": json.dumps({"b": data.decode()})}).encode()


def escaped(shape: str) -> Callable[[bytes], bytes]:
    return lambda data: "".join(shape.format(byte) for byte in data).encode()


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "JSON in JSON": in_json,
    "upper case": bytes.upper,
    "reversed": lambda data: data[::-1],
    "ROT13": lambda data: codecs.encode(data.decode(), "rot13").encode(),
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode(),
    "spaced hex": lambda data: data.hex(" ").encode(),
    "base64": base64.b64encode,
    "URL-safe base64": base64.urlsafe_b64encode,
    "MIME base64": mime,
    "MIME base64 in JSON": lambda data: in_json(mime(data)),
    "base32": base64.b32encode,
    "gzip, base64": lambda data: base64.b64encode(gzip.compress(data)),
    "gzip, MIME, JSON": lambda data: in_json(
        mime(b"")[:0] + base64.encodebytes(gzip.compress(data))
    ),
    "zlib, base64": lambda data: base64.b64encode(zlib.compress(data)),
    "gzip, hex": lambda data: gzip.compress(data).hex().encode(),
    "percent": escaped("%{:02x}"),
    "backslash x": escaped("\\x{:02x}"),
    "backslash u": lambda data: escaped("\\u{:04x}")(data.decode().encode("ascii", "ignore")),
    "HTML": lambda data: escaped("&#{};")(data.decode().encode("ascii", "ignore")),
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "UTF-16 in hex": lambda data: data.decode().encode("utf-16-le").hex().encode(),
    "a letter a line": lambda data: b"\n".join(bytes([byte]) for byte in data),
    "in quoted parts": lambda data: b'"' + data[:15] + b"\" + '" + data[15:] + b"'",
    "in a diff": lambda data: b"+" + data[:15] + b"\n+" + data[15:],
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("before", range(5))
def test_a_canary_is_found_in_every_encoding(encoding: str, before: int) -> None:
    data = ENCODINGS[encoding](b"z" * before + TEXT)
    assert names(SCANNER.scan(b"text before " + data + b" text after")) == ["owner__pkg-7/patch"]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.b32encode, lambda data: data])
@pytest.mark.parametrize("before", range(6))
def test_a_canary_at_the_very_end_is_found(encode: Callable[[bytes], bytes], before: int) -> None:
    data = encode(b"z" * before + CANARY.encode())
    assert names(SCANNER.scan(data)) == ["owner__pkg-7/patch"]


def test_each_canary_is_named_once_by_its_plainest_form() -> None:
    other = canary(SEED, "owner__pkg-9", "test_patch").encode()
    data = base64.b64encode(CANARY.encode()) + b"\n" + CANARY.encode() + b"\n" + other
    found = SCANNER.scan(data)
    assert sorted(names(found)) == ["owner__pkg-7/patch", "owner__pkg-9/test_patch"]
    assert {each.encoding for each in found} == {"verbatim"}
    assert data[found[0].offset :].startswith(CANARY.encode())


def test_a_cut_canary_is_a_sighting_without_a_field() -> None:
    (found,) = SCANNER.scan(b"... " + CANARY[:15].encode())
    assert found.planted is None


def test_other_ledgers_and_shorter_pieces_are_not_found() -> None:
    foreign = canary("ab" * 32, "owner__pkg-7", "patch").encode()
    for data in (foreign, CANARY[:9].encode(), CANARY[1:].encode(), bz2.compress(b"x" * 99)):
        assert SCANNER.scan(data) == []


@given(st.binary(max_size=3000))
def test_no_bytes_make_it_fail_or_find(data: bytes) -> None:
    assert SCANNER.scan(data) == []
    (found,) = SCANNER.scan(data + b"\n" + CANARY.encode())
    assert found.planted is not None
    assert found.planted.name == "owner__pkg-7/patch"


def test_a_bomb_is_not_unpacked_whole() -> None:
    bomb = base64.b64encode(gzip.compress(bytes(2**28) + CANARY.encode()))
    assert SCANNER.scan(bomb * 3) == []


def test_a_prefix_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="prefix"):
        Scanner("short", {})
