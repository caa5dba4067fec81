"""Reading Python files of any version, in any state."""

import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_extractors.python_source import module_docstring, outline

SOURCE = b'''\
"""Module."""
import pytest

@pytest.mark.parametrize("x", [1])
@other
def test_top(x):
    """First line.

    More.
    """
    def inner(): pass
    assert x

class A(base.B, metaclass=M):
    """No test."""
    def test_a(self):
        pass

    class Inner:
        async def test_i(self): return 1

if True:
    def test_conditional():
        pass
else:
    try:
        def test_try(): pass
    except E:
        def test_except(): pass
'''


def test_functions_with_their_classes_decorators_and_lines() -> None:
    found = outline(SOURCE)
    assert [(one.name, one.classes, one.line) for one in found.functions] == [
        ("test_top", (), 4),
        ("test_a", ("A",), 16),
        ("test_i", ("A", "Inner"), 20),
        ("test_conditional", (), 23),
        ("test_try", (), 27),
        ("test_except", (), 29),
    ]
    top, method, inner = found.functions[:3]
    assert top.text.startswith('@pytest.mark.parametrize("x", [1])\n@other\ndef test_top(x):')
    assert top.text.endswith("    assert x")
    assert top.summary == "First line."
    assert method.text == "    def test_a(self):\n        pass"
    assert inner.text == "        async def test_i(self): return 1"
    assert found.headers == {
        ("A",): "class A(base.B, metaclass=M):",
        ("A", "Inner"): "    class Inner:",
    }
    assert found.bases[("A",)][0] == "base.B"


def test_python_2_files() -> None:
    source = (
        b"# -*- coding: latin-1 -*-\nclass T(unittest.TestCase):\n"
        b"    def test_old(self):\n        print 'caf\xe9', `x`\n"
        b"        exec 'y = 1' in {}\n        try:\n            pass\n"
        b"        except IOError, e:\n            raise E, 'x' \n"
        b"        assert 0777 <> 1L and ur'x'\n"
        b"    def test_next(self):\n        pass\n"
    )
    functions = outline(source).functions
    assert [(one.name, one.classes) for one in functions] == [
        ("test_old", ("T",)),
        ("test_next", ("T",)),
    ]
    assert "print 'café', `x`" in functions[0].text


@pytest.mark.parametrize(
    "broken",
    [b"def broken(:\n    x = 1\n", b"class :\n", b"return )\n", b"<<<<<<< HEAD\n", b"\x00\xff\xfe"],
)
def test_errors_cost_no_other_function(broken: bytes) -> None:
    source = b"def test_before():\n    pass\n\n" + broken + b"\n\ndef test_after():\n    pass\n"
    names = [one.name for one in outline(source).functions]
    assert names[0] == "test_before"
    assert names[-1] == "test_after"


def test_what_stands_before_an_open_bracket_is_found() -> None:
    source = b"def test_before():\n    pass\n\nx = [1, 2\n\ndef test_after():\n    pass\n"
    assert outline(source).functions[0].name == "test_before"


@given(st.binary(max_size=300))
def test_any_bytes_are_read(content: bytes) -> None:
    for function in outline(content).functions:
        function.text.encode()
    module_docstring(content).encode()


def test_large_and_deep_files_take_bounded_time() -> None:
    began = time.monotonic()
    lines = b"".join(b"def test_%d():\n    assert %d\n" % (n, n) for n in range(25_000))
    assert len(outline(lines).functions) == 25_000
    outline(b"x = " + b"[" * 100_000 + b"]" * 100_000)
    outline(b"".join(b" " * n + b"if x:\n" for n in range(1_000)))
    outline(b"(" * 100_000)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("source", "docstring"),
    [
        (b'"""One."""\n', "One."),
        (b"#!/usr/bin/python\n# comment\n'one'\nx = 1\n", "one"),
        (b'r"""\n  Raw \\d.\n\n    Indented.  \n  """\n', "Raw \\d.\n\n  Indented."),
        (b'"a" "b"\n', "ab"),
        (b'u"""Two."""\nprint "x"\n', "Two."),
        (b'"""Bad \\d escape."""\n', "Bad \\d escape."),
        (b"# coding: latin-1\n'''caf\xe9'''\n", "café"),
        (b"'''caf\xe9'''\n", "café"),
        (b"# coding: nonsense\n'''caf\xc3\xa9'''\n", "café"),
        (b"\xef\xbb\xbf'bom'\r\n", "bom"),
        (b"import x\n'''late'''\n", ""),
        (b"b'bytes'\n", ""),
        (b"f'{x}'\n", ""),
        (b"'lone \\ud800 surrogate'\n", "lone ? surrogate"),
        (b"", ""),
        (b"x = '''\n", ""),
    ],
)
def test_module_docstrings(source: bytes, docstring: str) -> None:
    with warnings.catch_warnings(action="error"):
        assert module_docstring(source) == docstring
