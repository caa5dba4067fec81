"""What a report of a bug says: the error, what was called, and which functions may be its cause."""

import ast
import re
from collections.abc import Collection, Iterator, Sequence

MOST_MESSAGE = 200
MOST_CALLED = 3
_ADDRESS = re.compile(r"\b0x[0-9a-f]{4,}")
_SCRATCH = re.compile(r"/tmp/[^\s'\"]*")  # noqa: S108


def statement(
    *,
    exception: str,
    message: str,
    called: Sequence[str],
    path: str,
    functions: Sequence[str],
) -> str:
    """The problem statement: two or three lines, as `docs/pypi-edits.md` has it."""
    line = first_line(message)
    lines = [f"{exception}: {line}" if line else f"{exception}:"]
    if called:
        lines.append(f"Seen when calling {_listed(called)}.")
    lines.append(f"The cause is in one of these functions of `{path}`: {_listed(functions)}.")
    return "\n".join(lines) + "\n"


def first_line(message: str) -> str:
    """The first line of an error's message, without what differs from run to run."""
    line = " ".join(message.strip().partition("\n")[0].split())
    line = _SCRATCH.sub("/tmp/…", _ADDRESS.sub("0x…", line))  # noqa: S108
    line = "".join(one for one in line if one.isprintable())
    return line if len(line) <= MOST_MESSAGE else line[: MOST_MESSAGE - 1] + "…"


def defined_classes(sources: Collection[str]) -> set[str]:
    """Names of the classes that files define."""
    return {
        node.name
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    }


def without_names(message: str, tests: Collection[str]) -> str:
    """A message that names none of the hidden tests' functions, as in `test_it.<locals>.f`."""
    names = {name.partition("[")[0].rpartition("::")[2] for name in tests}
    return re.sub("|".join(rf"\b{re.escape(name)}\b" for name in sorted(names)), "…", message)


def defined_functions(sources: Collection[str]) -> set[str]:
    """Names of the functions and methods that files define, but for special methods."""
    return {
        node.name
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not (node.name.startswith("__") and node.name.endswith("__"))
    }


def called_functions(source: str, first: int, failed_at: int, names: Collection[str]) -> list[str]:
    """The package's functions that a test calls: those of the failed statement, then the others.

    first: the line of the test function's `def` or first decorator. failed_at: 0 when unknown.
    """
    test = function_at(source, first)
    if test is None:
        return []
    calls = list(_calls(test))
    at_failure = [name for name, start, end in calls if start <= failed_at <= end]
    ordered = dict.fromkeys([*at_failure, *(name for name, _, _ in calls)])
    return [name for name in ordered if name in names][:MOST_CALLED]


def function_at(source: str, first: int) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The function of a file whose `def` or first decorator is on a line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = [node.lineno, *(one.lineno for one in node.decorator_list)]
            if first in (min(lines), node.lineno):
                return node
    return None


def _calls(test: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Names of what a function calls, with the lines of the call, in order."""
    found = [
        (node.lineno, node.col_offset, name, node.end_lineno or node.lineno)
        for node in ast.walk(test)
        if isinstance(node, ast.Call)
        if (name := _name(node.func))
    ]
    for line, _, name, end in sorted(found):
        yield name, line, end


def _name(called: ast.expr) -> str:
    if isinstance(called, ast.Name):
        return called.id
    return called.attr if isinstance(called, ast.Attribute) else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
