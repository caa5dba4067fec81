"""Bugs of one small edit: the candidates of a source tree, before any test has run.

An edit puts another choice at a place of a function (`harness.records.repair.places`), so that a
model that can name a place and a choice can also take every edit back.
"""

import ast
import hashlib
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.records import Record
from harness.records.repair.functions import (
    EditableFunction,
    RepairSourceError,
    editable_functions,
    find_edit,
)
from harness.records.repair.places import NEGATED, PLAIN, edited
from harness.records.repair.text import short_name, words

MOST_CANDIDATES = 4
_NOT_THE_PACKAGE = ("doc", "example", "bench", "script", "build", "conftest", "setup", "_version")
_OPERATORS = {
    "comparison": ("<", "<=", ">", ">=", "==", "!=", "is", "is not", "in", "not in"),
    "boolean": ("and", "or"),
    "negation": (PLAIN, NEGATED),
    "arithmetic": ("+", "-", "*", "/", "//", "%"),
    "augmented assignment": ("+=", "-="),
    "truth value": ("True", "False"),
    "built-in function": ("min", "max", "any", "all"),
    "loop control": ("break", "continue"),
}
_OPERATOR_OF = {text: name for name, texts in _OPERATORS.items() for text in texts}


class Edit(Record):
    """A candidate: bytes `start` to `end` of the tree's file at `path` become `text`.

    number: its place in the order in which a package's candidates are tried, from 1.
    first: the line of the function's `def` or first decorator.
    functions: the broken one and up to three others of the file, in file order.
    """

    number: int
    path: str
    function: str
    operator: str
    first: int
    start: int
    end: int
    text: str
    functions: tuple[str, ...]


def broken_text(source: str, edit: Edit) -> str:
    """A file's text with an edit."""
    data = source.encode()
    return (data[: edit.start] + edit.text.encode() + data[edit.end :]).decode()


def operator_of(text: str) -> str:
    """The kind of edit that is made at a place with this text."""
    if text.isdigit():
        return "integer"
    return _OPERATOR_OF.get(text, "method")


def source_files(tree: Path) -> dict[str, str]:
    """The texts of the package's own Python files, by path in the tree: no tests, no packaging."""
    found = {}
    for path in sorted(tree.rglob("*.py")):
        parts = path.relative_to(tree).parts
        if any("test" in part.lower() or part.startswith(_NOT_THE_PACKAGE) for part in parts):
            continue
        data = path.read_bytes()
        if b"\r" not in data:  # its lines would not be git's
            found[path.relative_to(tree).as_posix()] = data.decode()
    return found


def candidates(
    files: Mapping[str, str], covered: Collection[tuple[str, int]] | None, *, seed: str
) -> Iterator[Edit]:
    """The edits of covered functions, functions taking turns.

    covered: functions that tests execute, by path and first line; None: all. The order depends on
    the files, on what is covered and on the seed alone.
    """
    queues = []
    shown: dict[str, list[str]] = {}
    for path, source in files.items():
        functions = _functions(source)
        shown[path] = [function.name for function, _ in functions]
        for function, first in functions:
            if covered is None or (path, first) in covered:
                queue = [(place, choice) for place in function.real for choice in place.choices]
                _shuffle(queue, f"{seed} {path} {function.name}")
                queues.append((path, function, first, queue))
    _shuffle(queues, seed)
    number = 0
    while queues:
        for path, function, first, queue in queues:
            number += 1
            place, choice = queue.pop()
            text = edited(files[path], place, choice)
            named = _functions_to_name(function.name, shown[path], f"{seed} {path} {number}")
            if len(named) > 1 and _can_be_taken_back(text, files[path], function.name):
                rest = len(files[path].encode()) - place.end
                yield Edit(
                    number=number,
                    path=path,
                    function=function.name,
                    first=first,
                    operator=operator_of(place.text),
                    start=place.start,
                    end=place.end,
                    text=text.encode()[place.start : len(text.encode()) - rest].decode(),
                    functions=named,
                )
        queues = [each for each in queues if each[3]]


def _functions(source: str) -> list[tuple[EditableFunction, int]]:
    """The functions of a file that can be shown, each with the line of its first decorator."""
    try:
        shown = editable_functions(source)
    except (RepairSourceError, UnicodeError):
        return []
    first = {
        node.lineno: min([node.lineno, *(one.lineno for one in node.decorator_list)])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    return [(function, first[function.line]) for function in shown.values()]


def _can_be_taken_back(broken: str, fixed: str, function: str) -> bool:
    """Whether the broken text is a program, and one edit of its function makes the fixed one."""
    try:
        compile(broken, "<edit>", "exec", dont_inherit=True)
        shown = editable_functions(broken, [function])
    except (SyntaxError, ValueError):
        return False
    return function in shown and find_edit(shown[function], broken, fixed) is not None


def _functions_to_name(function: str, shown: Sequence[str], seed: str) -> tuple[str, ...]:
    """The function and up to three others of its file that can be told apart, in file order."""
    others = [name for name in shown if name != function]
    _shuffle(others, seed)
    chosen = [function]
    for name in others:
        if len(chosen) < MOST_CANDIDATES and _told_apart([*chosen, name]):
            chosen.append(name)
    return tuple(name for name in shown if name in chosen)


def _told_apart(names: Sequence[str]) -> bool:
    """By the words of their short names."""
    return len({words(short_name(name)) for name in names}) == len(names)


def _shuffle(items: list[Any], seed: str) -> None:
    random.Random(hashlib.sha256(seed.encode()).digest()).shuffle(items)  # noqa: S311
