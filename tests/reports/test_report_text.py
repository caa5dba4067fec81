"""Hostile text becomes showable text, and nothing of it is lost silently."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reports.text import clip, clip_file, line, plain


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x00b", "a␀b"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("user\u202egnp.exe", "user⟨U+202E⟩gnp.exe"),
        ("\u2066x\u2069", "⟨U+2066⟩x⟨U+2069⟩"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
        ("tag\U000e0041", "tag⟨U+E0041⟩"),
        ("line\u2028separator", "line⟨U+2028⟩separator"),
        ("lone \ud800", "lone \ufffd"),
        ("one\r\ntwo\rthree\tfour", "one\ntwo␍three\tfour"),
        ("<b>&amp;", "<b>&amp;"),
    ],
)
def test_plain_makes_control_characters_visible(hostile: str, shown: str) -> None:
    assert plain(hostile) == shown


@given(st.text(st.characters(codec=None)))
def test_plain_text_has_no_control_or_format_characters(text: str) -> None:
    shown = plain(text)
    shown.encode()
    acting = {"Cc", "Cs", "Zl", "Zp"}
    assert not [c for c in shown if unicodedata.category(c) in acting and c not in "\t\n"]
    directions = {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"}
    assert not [c for c in shown if unicodedata.bidirectional(c) in directions]


@given(st.text(), st.integers(4, 50))
def test_clip_keeps_head_and_tail_and_counts_the_rest(text: str, cap: int) -> None:
    part = clip(text, cap)
    assert len(part.head) + len(part.tail) + part.cut == len(text)
    assert text.startswith(part.head)
    assert text.endswith(part.tail)
    assert len(part.head) + len(part.tail) <= cap


def test_clip_file_says_how_many_bytes_it_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first" + b"x" * 990 + b"final")
    part = clip_file(path, 100)
    assert (part.head[:5], part.tail[-5:], part.cut, part.unit) == ("first", "final", 900, "bytes")
    assert clip_file(path, 1000).as_json() == {"head": path.read_text()}


def test_line_is_one_line() -> None:
    assert line(" a\n\n b\tc \x00") == "a b c ␀"
