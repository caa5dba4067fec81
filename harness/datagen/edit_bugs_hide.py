"""The tests that show a bug, taken out of a tree: a row's test patch brings them back."""

import ast
import difflib
import re
from collections.abc import Collection, Iterator

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class HidingError(ValueError):
    """A test cannot be taken out of its file; the text says why."""


def without_tests(source: str, firsts: Collection[int]) -> str:
    """A test file without the functions whose `def` or first decorator is on one of these lines.

    Raises HidingError where a line has no such function of a module or class.
    """
    lines = _LINE.findall(source)
    found = dict(_functions(ast.parse(source)))
    gone: dict[int, str] = {}
    for first in firsts:
        if first not in found:
            raise HidingError(f"line {first} is no function of a module or class")
    for body in {id(body): body for _, body in (found[first] for first in firsts)}.values():
        left = list(body)
        for node in body:
            if _first(node) in firsts and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                left.remove(node)
                gone |= dict.fromkeys(range(_first(node), (node.end_lineno or 0) + 1), "")
        if not left:
            gone[_first(body[0])] = " " * body[0].col_offset + "pass\n"
    return "".join(gone.get(number, line) for number, line in enumerate(lines, start=1))


def git_diff(path: str, old: str, new: str) -> str:
    """The patch that makes the file at `path`, which is `old`, `new`."""
    body = difflib.unified_diff(_LINE.findall(old), _LINE.findall(new), f"a/{path}", f"b/{path}")
    whole = "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in body
    )
    return f"diff --git a/{path} b/{path}\n{whole}"


def _functions(tree: ast.Module) -> Iterator[tuple[int, tuple[ast.stmt, list[ast.stmt]]]]:
    """The functions of a module and its classes by first line, each with the body it is in."""
    pending: list[list[ast.stmt]] = [tree.body]
    while pending:
        body = pending.pop()
        for node in body:
            if isinstance(node, ast.ClassDef):
                pending.append(node.body)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield _first(node), (node, body)


def _first(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])
