"""What a small Python program writes to files, read from its syntax and never run."""

import ast
import json
import posixpath
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_MOST = 100_000
_WRITING = frozenset("wax+")
_METHODS = frozenset({"write_text", "write_bytes", "unlink", "touch"})
_FUNCTIONS = {"remove": 0, "unlink": 0, "copy": 1, "copyfile": 1, "copy2": 1}
_MOVES = frozenset({"rename", "replace", "move"})

Value = str | list["Value"] | None


class ProgramWrite(NamedTuple):
    """A file that a program writes; `removes` says that it is gone afterwards."""

    path: str
    removes: bool = False


class Program(NamedTuple):
    """What a program writes, the texts that it replaces by others, and all texts in it."""

    writes: tuple[ProgramWrite, ...] = ()
    replacements: tuple[tuple[str, str], ...] = ()
    texts: tuple[str, ...] = ()


def read_program(source: str) -> Program:
    """Read a program. Files are known where their names are constants, also through variables,
    `Path`, `/`, `os.path.join` and `json.loads`; a program with an error in it writes nothing.
    """
    if len(source) > _MOST:
        return Program()
    try:
        tree = ast.parse(source)
        reader = _Reader(tree)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        writes = tuple(dict.fromkeys(one for call in calls for one in reader.writes(call)))
        replacements = tuple(one for call in calls if (one := reader.replacement(call)))
        return Program(writes, replacements, tuple(reader.texts(tree)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Program()


class _Reader:
    def __init__(self, tree: ast.Module) -> None:
        self._names: dict[str, Value] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._bind(node.targets[0], self._value(node.value))
            elif isinstance(node, ast.With):
                for item in node.items:
                    if isinstance(item.optional_vars, ast.Name):
                        self._bind(item.optional_vars, self._value(item.context_expr))

    def writes(self, call: ast.Call) -> Iterator[ProgramWrite]:
        name = _called(call)
        given = [self._value(argument) for argument in call.args]
        if name == "open":
            target = call.func.value if isinstance(call.func, ast.Attribute) else None
            path = self._value(target) if target is not None else None
            if not isinstance(path, str):  # the builtin, or that of a module as `io`
                path, given = (given[0] if given else None), given[1:]
            mode = next((self._value(k.value) for k in call.keywords if k.arg == "mode"), None)
            mode = given[0] if given else mode
            if isinstance(path, str) and isinstance(mode, str) and _WRITING & set(mode):
                yield ProgramWrite(path)
        elif name in _METHODS and isinstance(call.func, ast.Attribute):
            path = self._value(call.func.value)
            if isinstance(path, str):
                yield ProgramWrite(path, removes=name == "unlink")
        elif name in _FUNCTIONS and len(given) > _FUNCTIONS[name]:
            path = given[_FUNCTIONS[name]]
            if isinstance(path, str):
                yield ProgramWrite(path, removes=_FUNCTIONS[name] == 0)
        elif name in _MOVES and _of_module(call, "os", "shutil") and len(given) == 2:
            for path, removes in zip(given, (True, False), strict=True):
                if isinstance(path, str):
                    yield ProgramWrite(path, removes)

    def replacement(self, call: ast.Call) -> tuple[str, str] | None:
        if _called(call) != "replace" or len(call.args) < 2 or _of_module(call, "os"):
            return None
        old, new = (self._value(argument) for argument in call.args[:2])
        return (old, new) if isinstance(old, str) and isinstance(new, str) else None

    def texts(self, tree: ast.Module) -> Iterator[str]:
        """Every text in the program, those inside JSON too."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.Call) and _called(node) == "loads":
                yield from _leaves(self._value(node))

    def _bind(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self._names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            values = value if isinstance(value, list) else [None] * len(target.elts)
            for element, one in zip(target.elts, values, strict=False):
                self._bind(element, one)

    def _value(self, node: ast.expr | None) -> Value:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return self._names.get(name)
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [self._value(part) for part in parts]
            case ast.BinOp(left=left, op=ast.Div() | ast.Add() as how, right=right):
                first, second = self._value(left), self._value(right)
                if isinstance(first, str) and isinstance(second, str):
                    is_path = isinstance(how, ast.Div)
                    return posixpath.join(first, second) if is_path else first + second
            case ast.Call():
                return self._call(node)
        return None

    def _call(self, call: ast.Call) -> Value:
        name, given = _called(call), [self._value(argument) for argument in call.args]
        parts = [part for part in given if isinstance(part, str)]
        if len(parts) != len(given):
            return None
        if (name in ("Path", "PurePath") or (name == "join" and not _on_text(call))) and parts:
            return posixpath.join(*parts)
        if name == "open" and isinstance(call.func, ast.Attribute):
            return self._value(call.func.value)
        if name == "open" and parts:
            return parts[0]
        if name == "loads" and len(parts) == 1:
            return _json(parts[0])
        return None


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _of_module(call: ast.Call, *names: str) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id=module)):
            return module in names
    return False


def _on_text(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Constant)


def _json(text: str) -> Value:
    try:
        return _plain(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _plain(value: object) -> Value:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return [_plain(one) for one in value.values()]
    return value if isinstance(value, str) else None


def _leaves(value: Value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
