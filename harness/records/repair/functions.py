"""Functions as the repair task shows them.

A function is shown as Python writes its tree (`ast.unparse`), without docstrings and annotations;
each place of that text belongs to the place of the real file where an edit is made.
"""

import ast
import copy
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from harness.records.repair.places import (
    FUNCTION_NODES,
    Function,
    Place,
    edited,
    find_places,
    line_starts,
)

MAX_CHARACTERS = 900
MIN_PLACES, MAX_PLACES = 2, 8
MAX_SOURCE_CHARACTERS = 500_000

_PARSING = threading.Lock()  # CPython 3.11 counts the depth of trees for all threads together


class RepairSourceError(ValueError):
    """A source file in which nothing can be shown; the text says why."""


@dataclass(frozen=True)
class EditableFunction:
    """A function and its places, in the order in which they are numbered.

    name: qualified by its classes. text: as shown. shown: the places in `text`.
    real: the same places in the file's text.
    """

    name: str
    line: int
    end_line: int
    text: str
    shown: tuple[Place, ...]
    real: tuple[Place, ...]


def editable_functions(
    source: str, names: Collection[str] | None = None
) -> dict[str, EditableFunction]:
    """The functions and methods of a file that can be shown, by qualified name, in file order.

    names: only these. A name that the file defines twice is left out, as is a function with more
    than `MAX_CHARACTERS` or fewer than `MIN_PLACES` or more than `MAX_PLACES` places.
    Raises RepairSourceError for what is no Python file or too large.
    """
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise RepairSourceError(f"{len(source):,} characters; at most {MAX_SOURCE_CHARACTERS:,}")
    try:
        with _PARSING:
            functions = _parsed(source, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RepairSourceError(f"no Python file: {type(error).__name__}: {error}") from None
    return {one.name: one for one in functions if one is not None}


def _parsed(source: str, names: Collection[str] | None) -> list[EditableFunction | None]:
    found = _definitions(ast.parse(source))
    starts = line_starts(source)
    counts = Counter(name for name, _ in found)
    wanted = [one for one in found if counts[one[0]] == 1 and (names is None or one[0] in names)]
    return [_editable(name, node, source, starts) for name, node in wanted]


def find_edit(function: EditableFunction, source: str, fixed: str) -> tuple[int, str] | None:
    """The number of the place and the choice that make `fixed` of `source`; None when none does."""
    for number, place in enumerate(function.real):
        for choice in place.choices:
            if edited(source, place, choice) == fixed:
                return number, choice
    return None


def _definitions(tree: ast.Module) -> list[tuple[str, Function]]:
    """Functions of the module and of its classes, not those inside of statements or functions."""
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    found: list[tuple[str, Function]] = []
    while pending:
        node, prefix = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                pending.append((child, f"{prefix}{child.name}."))
            elif isinstance(child, FUNCTION_NODES):
                found.append((f"{prefix}{child.name}", child))
    return sorted(found, key=lambda one: (one[1].lineno, one[1].col_offset))


def _editable(name: str, node: Function, source: str, starts: list[int]) -> EditableFunction | None:
    text = ast.unparse(_bare(node)) + "\n"
    if len(text) > MAX_CHARACTERS:
        return None
    real = find_places(node, source, starts)
    shown = find_places(ast.parse(text).body[0], text, line_starts(text))
    if len(real) != len(shown):
        return None
    pairs = [
        (one, other)
        for one, other in zip(shown, real, strict=True)
        if one is not None and other is not None and one.text == other.text
    ]
    if not MIN_PLACES <= len(pairs) <= MAX_PLACES:
        return None
    pairs.sort(key=lambda pair: pair[0].end)
    return EditableFunction(
        name=name,
        line=node.lineno,
        end_line=node.end_lineno or node.lineno,
        text=text,
        shown=tuple(one for one, _ in pairs),
        real=tuple(other for _, other in pairs),
    )


def _bare(
    node: Function,
) -> Function:
    """A copy without docstrings and annotations."""
    bare = copy.deepcopy(node)
    for one in ast.walk(bare):
        if isinstance(one, FUNCTION_NODES):
            if ast.get_docstring(one, clean=False) is not None:
                one.body = one.body[1:] or [ast.Pass()]
            one.returns = None
            given = one.args
            starred = [arg for arg in (given.vararg, given.kwarg) if arg is not None]
            for argument in (*given.args, *given.kwonlyargs, *given.posonlyargs, *starred):
                argument.annotation = None
    return bare
