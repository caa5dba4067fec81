"""Problem statements made of what a failing test does and sees, and what none of them may say."""

import ast
import builtins
import keyword
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence

from harness.datagen.edit_bugs_statement import (
    called_functions,
    first_line,
    function_at,
    without_names,
)
from harness.records import Record
from harness.records.repair.places import FUNCTION_NODES

MOST_CODE_LINES, MOST_MESSAGE_LINES, MOST_HELPER_LINES = 40, 12, 10
_LEAST_LINE = 12  # characters of a fix's line that say something
_LEAST_NAME = 3
_WORD = re.compile(r"[A-Za-z_]\w*")
_TEXT = re.compile(r"""("[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')""")
_OBJECT = re.compile(r" (?:object )?at 0x[0-9a-f]+")
_COMMON_METHODS = {name for kind in (str, bytes, list, dict, set) for name in dir(kind)}
_ORDINARY = {*keyword.kwlist, *dir(builtins), "self", "cls"}


class Failure(Record):
    """What is known of one failing test.

    source: of its file. first: the line where its function begins. line: where the error arose, 0
    when not in the file. values: texts of its variables.
    """

    source: str
    first: int
    line: int
    exception: str
    message: str
    values: dict[str, str]


def templated(failure: Failure, names: Collection[str], *, brief: bool = False) -> str:
    """A report of a failing test: what was run, with what, and what came of it.

    names: the package's functions and classes. brief: without the error's text.
    """
    called = called_functions(failure.source, failure.first, failure.line, names)
    called.sort(key=lambda name: name in _COMMON_METHODS)
    code = _code(failure)
    message = "" if brief else _message(failure.message)
    raised = failure.exception or "an error"
    subject = f"`{called[0]}`" if called else "the package"
    if message.startswith("DID NOT RAISE"):
        title, expected = f"{subject} accepts what it should refuse", "It should raise that error."
    elif raised in ("AssertionError", "Failed"):
        title, expected = f"Wrong result from {subject}", "The last check should hold."
    else:
        title, expected = f"{subject} fails with {raised}", "It should work without this error."
    parts = [title[:1].upper() + title[1:], "", "When I run", "", "```python", code, "```", ""]
    if given := _given(failure, code):
        parts += [f"with {given}", ""]
    parts += [
        "I get",
        "",
        "```",
        f"{raised}: {message}" if message else raised,
        "```",
        "",
        expected,
    ]
    return "\n".join(parts) + "\n"


def leaks(
    statement: str, *, patch: str, tests: Sequence[str], shown: Sequence[str], path: str
) -> Iterator[str]:
    """What a statement gives away: lines of the fix, its file, names of hidden tests, or names of
    the fix that the hidden tests' code (`shown`) does not have."""
    plain = _plain(statement)
    added = [line[1:].strip() for line in patch.splitlines() if re.match(r"\+(?!\+\+ )", line)]
    for line in added:
        if len(_plain(line)) >= _LEAST_LINE and _plain(line) in plain:
            yield f"a line of the fix: {line}"
    if path in statement:
        yield f"the file of the fix: {path}"
    words = set(_WORD.findall(statement))
    for name in sorted({one.partition("[")[0].rpartition("::")[2] for one in tests} & words):
        yield f"the name of a hidden test: {name}"
    known = {word for text in shown for word in _WORD.findall(text)} | _ORDINARY
    for name in sorted({word for line in added for word in _names(line)} & words - known):
        yield f"a name of the fix: {name}"


def _code(failure: Failure) -> str:
    """The body of the test's function as far as it ran, without its docstring."""
    test = function_at(failure.source, failure.first)
    if test is None:
        return "…"
    body = test.body
    if len(body) > 1 and ast.get_docstring(test, clean=False) is not None:
        body = body[1:]
    end = test.end_lineno or test.lineno
    for node in _own(test):
        simple = isinstance(node, ast.stmt) and not hasattr(node, "body")
        if simple and node.lineno <= failure.line <= (node.end_lineno or 0):  # type: ignore[attr-defined]
            end = node.end_lineno or end  # type: ignore[attr-defined]
    ran = [one for one in body if one.lineno <= end]
    lines = failure.source.splitlines()
    first = max(ran[0].lineno, end - MOST_CODE_LINES)
    kept = [one for one in ran if one.lineno >= first] or ran[-1:]
    text = textwrap.dedent("\n".join(lines[_begins(kept[0]) - 1 : end])).strip("\n")
    before = "".join(f"{one}\n" for one in _needed(failure, text))
    return before + (text if kept == ran else f"# …\n{text}")


def _needed(failure: Failure, code: str) -> Iterator[str]:
    """Imports and short helpers of the test's file whose names its code uses."""
    used = set(_WORD.findall(code))
    for node in ast.parse(failure.source).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [one for one in node.names if (one.asname or one.name).split(".")[0] in used]
            if names and getattr(node, "module", "") != "__future__":
                kind = (
                    ast.ImportFrom(node.module, names, node.level)
                    if isinstance(node, ast.ImportFrom)
                    else ast.Import(names)
                )
                yield ast.unparse(kind)
            continue
        helpers = node.body if isinstance(node, ast.ClassDef) and _has(node, failure) else [node]
        for one in helpers:
            short = (one.end_lineno or one.lineno) - one.lineno < MOST_HELPER_LINES
            if short and used & set(_bound(one)):
                yield textwrap.dedent(
                    ast.get_source_segment(failure.source, one, padded=True) or ""
                )


def _has(owner: ast.ClassDef, failure: Failure) -> bool:
    return owner.lineno <= failure.first <= (owner.end_lineno or owner.lineno)


def _bound(node: ast.stmt) -> Iterator[str]:
    """Names that a helper or a constant has."""
    if isinstance(node, FUNCTION_NODES) and not node.name.startswith("test"):
        yield node.name
    if isinstance(node, ast.Assign):
        yield from (one.id for one in node.targets if isinstance(one, ast.Name))


def _own(test: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function but for those of functions in it, which are called from elsewhere."""
    pending = list(ast.iter_child_nodes(test))
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, FUNCTION_NODES):
            pending += ast.iter_child_nodes(node)


def _begins(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(one.lineno for one in decorators)])


def _given(failure: Failure, code: str) -> str:
    """Values of the test's parameters that its code uses, where a text tells them."""
    test = function_at(failure.source, failure.first)
    parameters = [one.arg for one in test.args.args] if test else []
    used = set(_WORD.findall(code))
    found = [
        f"`{name} = {failure.values[name]}`"
        for name in parameters
        if name in used and name in failure.values and not _OBJECT.search(failure.values[name])
    ]
    return ", ".join(found)


def _message(message: str) -> str:
    """An error's text without what differs from run to run, and not too long."""
    whole = [first_line(line) for line in _OBJECT.sub("", message).strip().splitlines()]
    lines = [line for line in whole if not line.startswith("Use -v")]
    cut = ["…"] if len(lines) > MOST_MESSAGE_LINES else []
    return "\n".join([*lines[:MOST_MESSAGE_LINES], *cut]).replace("/testbed/", "")


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _names(line: str) -> set[str]:
    """Identifiers of a line of code, but for its texts and comments."""
    found = _WORD.findall(_TEXT.sub("", line).partition("#")[0])
    return {name for name in found if len(name) >= _LEAST_NAME}


def values_of(values: Mapping[str, str], tests: Collection[str]) -> dict[str, str]:
    """Texts of variables that name no hidden test."""
    return {name: text for name, text in values.items() if without_names(text, tests) == text}
