"""Small places of a function that the repair task may change, found by the syntax tree."""

import ast
from typing import NamedTuple

PLAIN, NEGATED = "yes", "not"  # a condition as it stands, and with `not` before it

_COMPARISONS = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
_ARITHMETIC = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
_FUNCTIONS = (("min", "max"), ("any", "all"))
_METHODS = (
    *_FUNCTIONS,
    ("startswith", "endswith"),
    ("lower", "upper"),
    ("keys", "values", "items"),
    ("lstrip", "rstrip"),
    ("append", "extend"),
    ("find", "rfind"),
    ("split", "rsplit"),
)
_FAMILIES = (
    ("<", "<=", ">", ">="),
    ("==", "!="),
    ("is", "is not"),
    ("in", "not in"),
    ("and", "or"),
    ("+", "-"),
    ("*", "/", "//", "%"),
    ("break", "continue"),
    ("True", "False"),
    ("+=", "-="),
    (PLAIN, NEGATED),
    *_METHODS,
)
_OTHERS = {one: tuple(x for x in family if x != one) for family in _FAMILIES for one in family}
_CALLED = {name for family in _FUNCTIONS for name in family}
_ATTRIBUTES = {name for family in _METHODS for name in family}
FUNCTION_NODES = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
_Located = ast.expr | ast.stmt


class Place(NamedTuple):
    """Bytes `start` to `end` of a text, what they mean, and what may stand there instead."""

    start: int
    end: int
    text: str
    choices: tuple[str, ...]


def edited(text: str, place: Place, choice: str) -> str:
    """A text with another choice at a place. Raises ValueError when that is none of its choices."""
    data = text.encode()
    return (data[: place.start] + replacement(place, choice).encode() + data[place.end :]).decode()


def replacement(place: Place, choice: str) -> str:
    """What stands at a place with another choice. Raises ValueError as `edited` does."""
    if choice not in place.choices:
        raise ValueError(f"{choice!r} is none of {', '.join(place.choices)}")
    return {(PLAIN, NEGATED): "not ", (NEGATED, PLAIN): ""}.get((place.text, choice), choice)


def find_places(function: ast.AST, source: str, starts: list[int]) -> list[Place | None]:
    """The places below a node, in the tree's order; None for one that cannot be told in the text.

    Equal trees give lists of equal length.
    """
    finder = _Finder(source.encode(), starts)
    pending = [function]
    while pending:
        node = pending.pop()
        finder.look(node)
        children = [
            child
            for child in ast.iter_child_nodes(node)
            if not (
                isinstance(node, FUNCTION_NODES)
                and (child in node.decorator_list or child in (node.args, node.returns))
            )
        ]
        values = [one.value if isinstance(one, ast.AnnAssign) else one for one in children]
        pending += [one for one in reversed(values) if one is not None]
    return finder.found


class _Finder:
    def __init__(self, data: bytes, starts: list[int]) -> None:
        self.found: list[Place | None] = []
        self._data = data
        self._starts = starts

    def look(self, node: ast.AST) -> None:
        """Note the places of a node itself."""
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                self._between(left, right, _COMPARISONS[type(operator)])
            case ast.BoolOp(op=logical, values=[left, right]):
                self._between(left, right, "and" if isinstance(logical, ast.And) else "or")
            case ast.BinOp(left=left, op=arithmetic, right=right):
                if type(arithmetic) in _ARITHMETIC and not _is_text(left):
                    self._between(left, right, _ARITHMETIC[type(arithmetic)])
            case ast.AugAssign(target=left, op=ast.Add() | ast.Sub() as change, value=right):
                self._between(left, right, "+=" if isinstance(change, ast.Add) else "-=")
            case ast.Constant(value=bool() as truth):
                self._add(self._start(node), self._end(node), str(truth))
            case ast.Constant(value=int() as number) if 0 <= number < 100:
                self._number(node, number)
            case ast.Break():
                self._add(self._start(node), self._end(node), "break")
            case ast.Continue():
                self._add(self._start(node), self._end(node), "continue")
            case ast.Call(func=ast.Name(id=name) as called) if name in _CALLED:
                self._add(self._start(called), self._end(called), name)
            case ast.Call(func=ast.Attribute(attr=name) as called) if name in _ATTRIBUTES:
                end = self._end(called)
                self._add(end - len(name), end, name)
        if isinstance(node, (ast.If, ast.While, ast.IfExp)):
            self._condition(node.test)

    def _condition(self, test: ast.expr) -> None:
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=ast.Name() | ast.Call() | ast.Attribute()):
                start, end = self._start(test), self._start(test.operand)
                if self._data[start:end] == b"not ":
                    self._add(start, end, NEGATED)
                else:
                    self.found.append(None)
            case ast.Name() | ast.Call() | ast.Attribute():
                self._add(self._start(test), self._start(test), PLAIN)

    def _number(self, node: _Located, number: int) -> None:
        start, end = self._start(node), self._end(node)
        if not self._data[start:end].isdigit():  # as 0x10
            self.found.append(None)
            return
        choices = (str(number + 1), *((str(number - 1),) if number else ()))
        self.found.append(Place(start, end, str(number), choices))

    def _between(self, left: _Located, right: _Located, operator: str) -> None:
        start, end = self._end(left), self._start(right)
        gap = self._data[start:end]
        words = operator.encode().split()
        first = gap.find(words[0])
        if first < 0 or b"#" in gap or b"\n" in gap:
            self.found.append(None)
            return
        last = gap.find(words[-1], first + len(words[0])) if len(words) > 1 else first
        self._add(start + first, start + last + len(words[-1]), operator)

    def _add(self, start: int, end: int, text: str) -> None:
        self.found.append(Place(start, end, text, _OTHERS[text]))

    def _start(self, node: _Located) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def _end(self, node: _Located) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.end_lineno - 1] + node.end_col_offset


def _is_text(node: ast.expr) -> bool:
    """Whether `%` and `+` after a node are those of text."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def line_starts(text: str) -> list[int]:
    """Where each line of a text begins, in bytes."""
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts
