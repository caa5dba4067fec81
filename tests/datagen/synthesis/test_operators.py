import ast

import pytest

from harness.datagen.synthesis.operators import edits_of
from harness.records.repair.places import FUNCTION_NODES, line_starts

BODY = """\
def broken(a, b, *rest):
    if a is None:
        raise ValueError
    if a:
        b = 1
    elif b:
        b = 2
    else:
        b = 3
    if b: b = 9
    self.log(a, b)
    self.total = a - b
    try:
        self.items[a] += 1
    except KeyError:
        a = 1
    except (TypeError, ValueError):
        a = 2
    for one in rest:
        if one:
            continue
    isinstance(a, b)
    return min(a, b)
"""


def made() -> dict[tuple[str, str, str], str]:
    """By operator, kind and first line gone or changed: the text that an edit makes."""
    (function,) = ast.parse(BODY).body
    assert isinstance(function, FUNCTION_NODES)
    found = {}
    for span in edits_of(function, BODY, line_starts(BODY)):
        text = BODY[: span.start] + span.text + BODY[span.end :]
        at = BODY[: span.start].count("\n")
        found[span.operator, span.kind, BODY.splitlines()[at].strip()] = text
    return found


@pytest.mark.parametrize(
    ("operator", "kind", "line", "before", "after"),
    [
        ("guard", "guard", "if a is None:", "    if a is None:\n        raise ValueError\n", ""),
        (
            "guard",
            "guard",
            "if one:",
            "        if one:\n            continue\n",
            "        pass\n",
        ),
        ("branch", "elif", "elif b:", "    elif b:\n        b = 2\n", ""),
        ("branch", "if", "if b: b = 9", "    if b: b = 9\n", ""),
        ("branch", "except", "except KeyError:", "    except KeyError:\n        a = 1\n", ""),
        ("statement", "call", "self.log(a, b)", "    self.log(a, b)\n", ""),
        ("statement", "assignment", "self.total = a - b", "    self.total = a - b\n", ""),
        (
            "statement",
            "assignment",
            "self.items[a] += 1",
            "        self.items[a] += 1\n",
            "        pass\n",
        ),
        ("arguments", "arguments", "self.log(a, b)", "log(a, b)", "log(b, a)"),
        ("arguments", "operands", "self.total = a - b", "a - b", "b - a"),
        ("mutation", "comparison", "if a is None:", "a is None", "a is not None"),
    ],
)
def test_every_operator_makes_its_edit(
    operator: str, kind: str, line: str, before: str, after: str
) -> None:
    assert made()[operator, kind, line] == BODY.replace(before, after, 1)


def test_what_is_no_likely_bug_is_left_alone() -> None:
    found = made()
    assert ("arguments", "arguments", "isinstance(a, b)") not in found
    assert ("arguments", "arguments", "return min(a, b)") not in found
    assert ("branch", "if", "if a:") not in found  # it has other branches
    assert ("guard", "guard", "elif b:") not in found


def test_an_else_goes_with_all_its_lines() -> None:
    source = (
        "def f(a):\n    if a:\n        a = 1\n    else:\n        # why\n        a = 2\n    g()\n"
    )
    (function,) = ast.parse(source).body
    assert isinstance(function, FUNCTION_NODES)
    spans = edits_of(function, source, line_starts(source))
    (span,) = [one for one in spans if one.kind == "else"]
    assert source[: span.start] + source[span.end :] == (
        "def f(a):\n    if a:\n        a = 1\n    g()\n"
    )
