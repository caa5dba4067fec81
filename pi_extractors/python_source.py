"""What a Python file defines, of any version and with any errors in it."""

import ast
import gc
import io
import tokenize
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

_STATEMENTS = {
    "ERROR",
    "block",
    "decorated_definition",
    "elif_clause",
    "else_clause",
    "except_clause",
    "finally_clause",
    "if_statement",
    "try_statement",
    "with_statement",
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method, with its decorators and the classes that it stands in."""

    name: str
    classes: tuple[str, ...]
    line: int  # of the first decorator or of `def`, from 1
    text: str  # whole lines, as indented in the file
    summary: str  # the docstring's first line


@dataclass(frozen=True, slots=True)
class Outline:
    """The functions outside of functions, and the headers and base classes of all classes."""

    functions: tuple[Function, ...]
    headers: Mapping[tuple[str, ...], str]
    bases: Mapping[tuple[str, ...], tuple[str, ...]]


def outline(content: bytes) -> Outline:
    """What a file defines; of two definitions of one name, both, in order."""
    text = Decoded(content)
    functions: list[Function] = []
    headers: dict[tuple[str, ...], str] = {}
    bases: dict[tuple[str, ...], tuple[str, ...]] = {}
    tree = _parse(content)
    pending: list[tuple[Node, tuple[str, ...]]] = [(tree.root_node, ())]
    while pending:
        node, classes = pending.pop()
        inner: list[tuple[Node, tuple[str, ...]]] = []
        for child in node.named_children:
            name = child.child_by_field_name("name")
            whole = node if node.type == "decorated_definition" else child
            if child.type == "function_definition" and name is not None:
                functions.append(
                    Function(
                        name=text.of(name),
                        classes=classes,
                        line=whole.start_point.row + 1,
                        text=text.lines(whole),
                        summary=_first_line(_docstring(child.child_by_field_name("body"), text)),
                    )
                )
            elif child.type == "class_definition" and name is not None:
                path = (*classes, text.of(name))
                body = child.child_by_field_name("body")
                headers[path] = text.lines(child, body).rstrip()
                given = child.child_by_field_name("superclasses")
                bases[path] = tuple(text.of(base) for base in given.named_children) if given else ()
                inner.append((child, path))
            elif child.type in _STATEMENTS:
                inner.append((child, classes))
        pending += reversed(inner)
    functions.sort(key=lambda function: function.line)
    return Outline(tuple(functions), headers, bases)


def module_docstring(content: bytes) -> str:
    """A module's docstring, without its quotes and common indentation; empty when there is none."""
    return _docstring(_parse(content).root_node, Decoded(content))


class Decoded:
    """A file's text by the byte positions that the parser gives."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._encoding = _encoding(content)

    def of(self, node: "Node") -> str:
        """A node's text."""
        return self._decode(self._content[node.start_byte : node.end_byte])

    def lines(self, node: "Node", until: "Node | None" = None) -> str:
        """A node's text, or that before a part of it, from the start of its first line."""
        start = self._content.rfind(b"\n", 0, node.start_byte) + 1
        end = node.end_byte if until is None else until.start_byte
        if self._content[start : node.start_byte].strip():
            start = node.start_byte
        return self._decode(self._content[start:end])

    def _decode(self, part: bytes) -> str:
        text = part.decode(self._encoding, "replace")
        return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding(content: bytes) -> str:
    """The declared encoding; UTF-8, or Latin-1 for what is not, where it declares none or a wrong
    one."""
    try:
        name, _ = tokenize.detect_encoding(io.BytesIO(content[:4096]).readline)
        content.decode(name)
    except (SyntaxError, LookupError, ValueError):
        try:
            content.decode()
        except UnicodeDecodeError:
            return "latin-1"
        return "utf-8"
    return name


def _docstring(body: "Node | None", text: Decoded) -> str:
    for node in _statements(body):
        if node.type == "expression_statement":
            node = node.named_children[0] if node.named_child_count else node
        if node.type not in ("string", "concatenated_string"):
            return ""
        try:
            with warnings.catch_warnings(action="ignore"):  # of invalid escapes
                value = ast.literal_eval(text.of(node))
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return ""
        return _cleaned(value) if isinstance(value, str) else ""
    return ""


def _statements(body: "Node | None") -> "Iterator[Node]":
    for node in body.named_children[:50] if body is not None else ():
        if node.type != "comment":
            yield node


def _cleaned(value: str) -> str:
    import inspect

    text = inspect.cleandoc(value).encode("utf-8", "replace").decode()
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def _first_line(text: str) -> str:
    return text.partition("\n")[0].strip()


def _parse(content: bytes) -> "Tree":
    """The syntax tree. Nodes are many small objects: the collector would walk them in vain."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return _parser().parse(content)
    finally:
        if was_on:
            gc.enable()


@cache
def _parser() -> "Parser":
    import tree_sitter_python
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_python.language()))
