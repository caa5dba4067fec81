"""A call graph by names alone: which functions a piece of code may reach."""

import ast
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache

from pi_extractors.base import Snapshot
from pi_extractors.call_graph.repository import is_test

DEPTH = 4
_MAX_FILES = 5000
_MAX_BYTES = 1_000_000
_OUTSIDE = ("bench", "doc", "example", "setup.py")
_CONSTRUCTORS = ("__init__", "__call__", "__new__")

Names = Mapping[str, frozenset[str]]


class NameGraph:
    """Functions and classes of a snapshot's package by name, each with the names in its body.

    What has one name is one node: the graph has every call that names tell, and more.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        merged: dict[str, set[str]] = defaultdict(set)
        paths = [path for path in snapshot.files if _of_package(path)]
        for path in paths[:_MAX_FILES]:
            content = snapshot.read(path)
            if len(content) <= _MAX_BYTES:
                for name, used in _bodies(content).items():
                    merged[name] |= used
        self._used: dict[str, frozenset[str]] = {
            name: frozenset(used & merged.keys()) for name, used in merged.items()
        }

    def distances(self, names: Iterable[str]) -> dict[str, int]:
        """How many calls away each function is that these names reach, within `DEPTH`."""
        found: dict[str, int] = {}
        level = {name for name in names if name in self._used}
        for distance in range(1, DEPTH + 1):
            found |= dict.fromkeys(level, distance)
            level = {other for name in level for other in self._used[name]} - found.keys()
        return found


def names_used(code: str) -> frozenset[str]:
    """Names, attributes and parameters in a piece of code; none where it is no Python."""
    tree = _parsed(textwrap.dedent(code))
    return frozenset() if tree is None else _names(tree)


@lru_cache(4096)
def _bodies(content: bytes) -> Names:
    """The names in each function's body, and the constructors of each class."""
    found: dict[str, set[str]] = defaultdict(set)
    tree = _parsed(content.decode(errors="replace"))
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] |= _names(node)
        elif isinstance(node, ast.ClassDef):
            methods = (one.name for one in node.body if isinstance(one, ast.FunctionDef))
            found[node.name] |= {name for name in methods if name in _CONSTRUCTORS}
    return {name: frozenset(used) for name, used in found.items()}


def _names(tree: ast.AST) -> frozenset[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return frozenset(names)


def _parsed(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _of_package(path: str) -> bool:
    lower = path.lower()
    inside = not any(part.startswith(_OUTSIDE) for part in lower.split("/"))
    return path.endswith(".py") and inside and not is_test(path)
