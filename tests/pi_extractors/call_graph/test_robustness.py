"""Files that are old, broken, huge or not text."""

from pathlib import Path

import pytest

from pi_extractors.call_graph.linker import Linker
from pi_extractors.call_graph.repository import LARGEST
from pi_extractors.call_graph.source_text import UnreadableSourceError, decode
from pi_extractors.snapshot import MemorySnapshot
from tests.pi_extractors.call_graph.linking import edges


def test_python_2(tmp_path: Path) -> None:
    text = b"""
def show(x): pass
def run():
    print show(1), "a"
    exec "code" in {}
    try:
        raise ValueError, show(2)
    except (IOError, OSError), e:
        print >>out, `show(3)`
    return 0777L <> ur'x'
def after():
    show(4)
"""
    files = MemorySnapshot({"m.py": text})
    found = edges(tmp_path, files)
    assert {("m.py::run", "m.py::show"), ("m.py::after", "m.py::show")} <= found


def test_a_syntax_error_costs_only_its_part(tmp_path: Path) -> None:
    text = b"def f(): pass\ndef g():\n    f()\n\nclass 1:\n    x = = 1\n\ndef h():\n    f()\n"
    graph = Linker(tmp_path).open(MemorySnapshot({"m.py": text}))
    calls = {(one.caller, one.callee) for one in graph.calls_from(graph.symbols)}
    assert {("m.py::g", "m.py::f"), ("m.py::h", "m.py::f")} <= calls
    (skipped,) = graph.skipped
    assert skipped.path == "m.py"
    assert skipped.reason.startswith("does not parse at line 5")
    assert skipped.reason.endswith("read in part")


def test_many_lines(tmp_path: Path) -> None:
    lines = ["def f0(x): return x"]
    lines += [f"def f{at}(x):\n    y = f{at - 1}(x)\n    return y" for at in range(1, 17_000)]
    files = MemorySnapshot({"m.py": "\n".join(lines).encode()})
    graph = Linker(tmp_path).open(files)
    (call,) = graph.calls_from(["m.py::f16999"])  # type: ignore[list-item]
    assert call.callee == "m.py::f16998"
    assert len(graph.symbols) == 17_001


HOSTILE = {
    "operators": "x = " + " + ".join(["f()"] * 5000),
    "parentheses": "x = " + "(" * 3000 + "f()" + ")" * 3000,
    "calls": "f()" + "()" * 3000,
    "attributes": "x = f()" + ".a" * 5000,
    "lists": "x = " + "[" * 2000 + "f()" + "]" * 2000,
    "blocks": "\n".join(" " * at + "if x:" for at in range(300)) + "\n" + " " * 300 + "f()",
    "appends": "x = []\n" + "x.append(f())\n" * 3000 + "x[0]()",
    "assignments": "x = f()\n" + "x = [x, x]\n" * 3000 + "x()",
    "elifs": "if f(): pass\n" + "elif x: y = 1\n" * 2000,
    "brackets": "(" * 20_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_nesting_ends(tmp_path: Path, text: str) -> None:
    source = f"def f(): pass\n{text}\ndef g():\n    f()\n"
    graph = Linker(tmp_path).open(MemorySnapshot({"m.py": source.encode()}))
    calls = graph.calls_from(graph.symbols)
    assert any(one.callee == "m.py::f" for one in calls) or graph.skipped


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    files = {
        "binary.py": b"\0\1\2",
        "wide.py": "x = 1".encode("utf-16"),
        "large.py": b"#" * (LARGEST + 1),
        "latin.py": b"x = '\xe4'\ndef f(): pass\nf()\n",
        "wrong.py": b"# -*- coding: ascii -*-\nx = '\xe4'\n",
        "good.py": b"# vim: set fileencoding=cp1252 :\nx = '\x80'\n",
    }
    graph = Linker(tmp_path).open(MemorySnapshot(files))
    reasons = {one.path: one.reason for one in graph.skipped}
    assert reasons == {
        "binary.py": "has NUL bytes: it is binary: left out",
        "wide.py": "is UTF-16, which Python does not read: left out",
        "large.py": f"has {LARGEST + 1} bytes, more than {LARGEST}: left out",
        "latin.py": "is not UTF-8 and declares no encoding: read as Latin-1",
        "wrong.py": "is not ascii, as it declares: read as Latin-1",
    }
    assert "latin.py::f" in graph.symbols
    assert "large.py::" not in graph.symbols


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfx = 1", "x = 1"),
        (
            b"#!/usr/bin/python\n# coding: latin-1\n'\xe4'",
            "#!/usr/bin/python\n# coding: latin-1\n'ä'",
        ),
        (b"x = 1\n# coding: latin-1\n'\xc3\xa4'", "x = 1\n# coding: latin-1\n'ä'"),
        (b"# coding: rot13\nx", "# coding: rot13\nx"),
        (b"# coding: punycode\nx", "# coding: punycode\nx"),
    ],
)
def test_decode(data: bytes, text: str) -> None:
    assert decode(data)[0] == text


def test_decode_refuses_binary() -> None:
    with pytest.raises(UnreadableSourceError, match="NUL"):
        decode(b"a\0b")
