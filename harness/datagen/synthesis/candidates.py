"""The candidates of a package: places and order are those of its sources and a seed alone."""

import ast
import hashlib
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import NamedTuple

from harness.datagen.edit_bugs_trial import Change
from harness.datagen.synthesis.operators import edits_of
from harness.records import Record
from harness.records.repair.places import FUNCTION_NODES, Function, line_starts

PARSING = threading.Lock()  # Python 3.11 cannot make two syntax trees at a time
_MOST_CHARACTERS = 500_000

Place = tuple[str, int]


class Candidate(Record):
    """Changes of the clean tree that may be a bug.

    function: qualified by classes, of the first change; empty outside of functions.
    places: functions that have a changed line, by path and first line; empty: all tests may see it.
    """

    operator: str
    kind: str
    path: str
    function: str
    places: tuple[Place, ...]
    changes: tuple[Change, ...]

    @property
    def key(self) -> str:
        """Names the candidate by its changes: the same in every run."""
        facts = [f"{one.path}\0{one.start}\0{one.end}\0{one.text}" for one in self.changes]
        return hashlib.sha256("\1".join(facts).encode()).hexdigest()[:10]

    def changed(self, files: Mapping[str, str]) -> dict[str, str]:
        """The texts of the changed files."""
        texts: dict[str, bytes] = {}
        for one in self.changes:
            data = texts.get(one.path, files[one.path].encode())
            texts[one.path] = data[: one.start] + one.text.encode() + data[one.end :]
        return {path: data.decode() for path, data in texts.items()}


class _Found(NamedTuple):
    """A candidate, and the bytes of the one function that it changes."""

    candidate: Candidate
    function: tuple[int, int] | None


def candidates(
    files: Mapping[str, str],
    covered: Collection[Place] | None,
    *,
    operators: Collection[str],
    seed: str,
    more: Iterable[Candidate] = (),
) -> Iterator[Candidate]:
    """Candidates whose functions are covered (None: all are), operators and functions taking turns.

    more: those that are not made of a syntax tree. Two that make the same tree are one.
    """
    queues: dict[str, list[tuple[int, str, _Found]]] = defaultdict(list)
    for path, source in files.items():
        for group in _by_function(path, source, covered, operators).values():
            by_hash = {_hash(seed, one.candidate.key): one for one in group}
            for rank, tie in enumerate(sorted(by_hash)):
                queues[by_hash[tie].candidate.operator].append((rank, tie, by_hash[tie]))
    for rank, candidate in enumerate(more):
        if candidate.operator in operators:
            one = _Found(candidate, _function_of(candidate, files))
            queues[candidate.operator].append((rank, candidate.key, one))
    turns = [[one for _, _, one in sorted(queues[name], key=_order)] for name in sorted(queues)]
    seen: set[str] = set()
    for one in (each for turn in zip_longest(*turns) for each in turn if each is not None):
        with PARSING:
            tree = _tree(one, files)
        if tree and tree not in seen:
            seen.add(tree)
            yield one.candidate


def _function_of(candidate: Candidate, files: Mapping[str, str]) -> tuple[int, int] | None:
    """The bytes of the function in which all is changed; None when there is no such one."""
    source = files[candidate.path]
    starts = [*line_starts(source), len(source.encode())]
    with PARSING:
        functions = list(outer_functions(ast.parse(source)))
    for _, node in functions:
        start, end = starts[first_line(node) - 1], starts[node.end_lineno or node.lineno]
        within = (one.path == candidate.path and start <= one.start for one in candidate.changes)
        if all(within) and all(one.end <= end for one in candidate.changes):
            return start, end
    return None


def outer_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Functions of a module and its classes, with qualified names; not those in functions."""
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, prefix = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                pending.append((child, f"{prefix}{child.name}."))
            elif isinstance(child, FUNCTION_NODES):
                yield f"{prefix}{child.name}", child
            elif isinstance(child, ast.stmt):
                pending.append((child, prefix))


def first_line(function: Function) -> int:
    """The line of a function's `def` or first decorator, which is its code's first line."""
    return min([function.lineno, *(one.lineno for one in function.decorator_list)])


def places_at(function: Function, path: str, first: int, last: int) -> tuple[Place, ...]:
    """A function and those inside of it that have one of some lines."""
    return tuple(
        (path, first_line(node))
        for node in ast.walk(function)
        if isinstance(node, FUNCTION_NODES)
        and first_line(node) <= last
        and first <= (node.end_lineno or node.lineno)
    )


def _by_function(
    path: str, source: str, covered: Collection[Place] | None, operators: Collection[str]
) -> dict[str, list[_Found]]:
    """A file's candidates by operator and function."""
    found: dict[str, list[_Found]] = defaultdict(list)
    if len(source) > _MOST_CHARACTERS:
        return found
    starts = line_starts(source)
    try:
        with PARSING:
            functions = list(outer_functions(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return found
    for name, function in functions:
        last_line = function.end_lineno or function.lineno
        whole = starts[first_line(function) - 1], [*starts, len(source.encode())][last_line]
        for span in edits_of(function, source, starts):
            if span.operator not in operators:
                continue
            first = bisect_right(starts, span.start)
            last = max(first, bisect_right(starts, span.end - 1))
            places = places_at(function, path, first, last)
            if covered is not None:
                places = tuple(place for place in places if place in covered)
            if places:
                candidate = Candidate(
                    operator=span.operator,
                    kind=span.kind,
                    path=path,
                    function=name,
                    places=places,
                    changes=(Change(path=path, start=span.start, end=span.end, text=span.text),),
                )
                group = found[f"{span.operator} {name} {function.lineno}"]
                group.append(_Found(candidate, whole))
    return found


def _order(item: tuple[int, str, _Found]) -> tuple[int, str]:
    return item[:2]


def _tree(one: _Found, files: Mapping[str, str]) -> str:
    """What tells the changed code apart but for layout; nothing when it is no program, or when it
    is what it was."""
    trees = []
    same = True
    try:
        for path, text in one.candidate.changed(files).items():
            before, after = files[path], text
            if one.function:
                before, after = (_part(each, before, one.function) for each in (before, after))
            compile(after, path, "exec", dont_inherit=True)
            trees.append(f"{path} {one.candidate.function} {ast.dump(ast.parse(after))}")
            same = same and trees[-1].endswith(ast.dump(ast.parse(before)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return "" if same else hashlib.sha256("\0".join(trees).encode()).hexdigest()


def _part(text: str, before: str, function: tuple[int, int]) -> str:
    """The function alone, which parses in a thousandth of the time of a large file."""
    data = text.encode()
    rest = len(before.encode()) - function[1]
    part = data[function[0] : len(data) - rest].decode()
    return f"class _:\n{part}" if part[:1].isspace() else part


def _hash(seed: str, key: str) -> str:
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()
