"""Edits of a function's syntax tree that are likely to be bugs.

mutation    another operator, number, truth value or method (`harness.records.repair.places`)
guard       an `if` that leaves the function or loop is gone
branch      an `else`, `elif`, `except`, or the whole of another `if` is gone
statement   a call or an assignment to an attribute or item is gone
arguments   two neighbouring arguments, or the two operands of an operator, change places
"""

import ast
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from harness.datagen.edit_bugs import operator_of
from harness.records.repair.places import Function, find_places, replacement

OPERATORS = ("mutation", "guard", "branch", "statement", "arguments")
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_ORDERED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
# Another order gives the same, or an error that says at once where it is.
_ANY_ORDER = {"min", "max", "print", "isinstance", "issubclass", "hasattr", "getattr", "setattr"}


class Span(NamedTuple):
    """Bytes `start` to `end` of a file become `text`. kind: what of its operator it is."""

    operator: str
    kind: str
    start: int
    end: int
    text: str


def edits_of(function: Function, source: str, starts: Sequence[int]) -> Iterator[Span]:
    """All edits of a function. starts: where each line begins, in bytes."""
    for place in find_places(function, source, list(starts)):
        for choice in place.choices if place else ():
            assert place is not None
            text = replacement(place, choice)
            yield Span("mutation", operator_of(place.text), place.start, place.end, text)
    lines = _Lines(source, starts)
    for node in ast.walk(function):
        for body in _bodies(node):
            for statement in body:
                yield from _without(statement, body, lines)
        yield from _swapped(node, lines)


class _Lines:
    """A file's bytes by line and column of its syntax tree."""

    def __init__(self, source: str, starts: Sequence[int]) -> None:
        self._data = source.encode()
        self._starts = starts

    def bytes(self, start: int, end: int) -> str:
        return self._data[start:end].decode()

    def start(self, node: ast.expr) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr) -> int:
        return self._starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)

    def whole(self, first: int, last: int) -> tuple[int, int]:
        """The bytes of whole lines, both included."""
        return self._starts[first - 1], self._starts[last] if last < len(self._starts) else len(
            self._data
        )

    def indent(self, statement: ast.stmt) -> str:
        return self.line(statement.lineno)[: statement.col_offset]

    def line(self, number: int) -> str:
        return self.bytes(*self.whole(number, number))

    def alone(self, statement: ast.stmt) -> bool:
        """Whether a statement begins its line, and none follows on its last one."""
        last = self.line(statement.end_lineno or 0).encode()[statement.end_col_offset or 0 :]
        rest = last.decode().strip()
        return not self.indent(statement).strip() and (not rest or rest.startswith("#"))


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        body = getattr(node, name, None)
        if isinstance(body, list):
            yield body


def _without(statement: ast.stmt, body: list[ast.stmt], lines: _Lines) -> Iterator[Span]:
    """What a body is without a statement, or without a part of it."""
    if isinstance(statement, (ast.If, ast.Try)):
        yield from _parts(statement, lines)
    operator, kind = _removable(statement)
    if not kind or not lines.alone(statement) or not statement.end_lineno:
        return
    start, end = lines.whole(statement.lineno, statement.end_lineno)
    if lines.line(statement.lineno).lstrip().startswith("elif"):
        return
    left = f"{lines.indent(statement)}pass\n" if len(body) == 1 else ""
    yield Span(operator, kind, start, end, left)


def _removable(statement: ast.stmt) -> tuple[str, str]:
    match statement:
        case ast.If(orelse=[], body=[*_, last]):
            return ("guard", "guard") if isinstance(last, _LEAVES) else ("branch", "if")
        case ast.Expr(value=ast.Call() | ast.Await()):
            return "statement", "call"
        case ast.AugAssign() | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return "statement", "assignment"
    return "", ""


def _parts(statement: ast.If | ast.Try, lines: _Lines) -> Iterator[Span]:
    """A statement without one of its branches."""
    if isinstance(statement, ast.Try):
        for handler in statement.handlers if len(statement.handlers) > 1 else ():
            span = lines.whole(handler.lineno, handler.end_lineno or handler.lineno)
            yield Span("branch", "except", *span, "")
        return
    if not statement.orelse:
        return
    first, last = statement.orelse[0], statement.orelse[-1]
    if isinstance(first, ast.If) and lines.line(first.lineno).lstrip().startswith("elif"):
        end = first.body[-1].end_lineno or first.lineno
        yield Span("branch", "elif", *lines.whole(first.lineno, end), "")
        return
    above = range(statement.body[-1].end_lineno or 0, first.lineno + 1)
    found = [number for number in above if lines.line(number).lstrip().startswith("else")]
    if found and lines.alone(last):
        yield Span("branch", "else", *lines.whole(found[-1], last.end_lineno or found[-1]), "")


def _swapped(node: ast.AST, lines: _Lines) -> Iterator[Span]:
    pairs: list[tuple[str, ast.expr, ast.expr]] = []
    match node:
        case ast.Call(func=called, args=arguments):
            if getattr(called, "id", "") not in _ANY_ORDER:
                pairs = [("arguments", *pair) for pair in pairwise(arguments)]
        case ast.BinOp(left=left, op=operator, right=right):
            text = isinstance(left, ast.JoinedStr) or isinstance(getattr(left, "value", 0), str)
            if isinstance(operator, _ORDERED) and not text:
                pairs = [("operands", left, right)]
    for kind, one, other in pairs:
        if isinstance(one, ast.Starred) or isinstance(other, ast.Starred):
            continue
        first, second = ((lines.start(each), lines.end(each)) for each in (one, other))
        texts = lines.bytes(*first), lines.bytes(first[1], second[0]), lines.bytes(*second)
        if texts[0] != texts[2]:
            yield Span("arguments", kind, first[0], second[1], texts[2] + texts[1] + texts[0])
