"""Evaluation of expressions, on demand, with bounds."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pi_extractors.call_graph.imports import Imports
from pi_extractors.call_graph.repository import File, Repository
from pi_extractors.call_graph.summary import CLASS, MODULE, Expr
from pi_extractors.call_graph.values import (
    BUILT_IN,
    EXTERNAL,
    Class,
    Const,
    External,
    Frame,
    Function,
    Given,
    Instance,
    Thunk,
    Value,
    Values,
    distinct,
)

T = TypeVar("T")

FUEL = 1000
"""Evaluations that one question may cost."""
RESERVE = 100
MAX_DEPTH = 45
MAX_NESTING = 120
NEVER = 1 << 30


class Core:
    """Names, containers and the memory of what was evaluated.

    A cyclic question gets what is known so far; an answer that used such a part is kept only until
    the question at its root is answered.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.imports = Imports(repository)
        self._done: dict[Any, Values] = {}
        self._partial: dict[Any, Values] = {}
        self._active: dict[Any, int] = {}
        self._cut = NEVER
        self._frames: dict[Frame, Frame] = {}
        self._fuel = 0
        self._nesting = 0
        self._topic: Frame | None = None
        self._tags: dict[str, Callable[[list[Any], Frame], Values]] = {
            "n": self.local_name,
            "g": self.free_name,
            "a": lambda e, frame: self.attributes(self.expr(e[1], frame), e[2]),
            "c": lambda e, frame: self.call(e[1], frame),
            "k": lambda e, frame: (Const(e[1]),),
            "b": lambda e, frame: BUILT_IN,
            "l": self.sequence,
            "t": self.sequence,
            "d": self.mapping,
            "o": lambda e, frame: self.any_of(e[1], frame),
            "*": lambda e, frame: self.each(self.expr(e[1], frame), self.elements),
            "s": lambda e, frame: self.subscript(e[1], e[2], frame),
            "sl": self.slice,
            "f": self.scope_value,
            "df": lambda e, frame: self.decorated(e[1], e[2], frame),
            "p": lambda e, frame: self.parameter(e[1], frame),
            "i": lambda e, frame: self.each(self.expr(e[1], frame), self.elements),
            "w": lambda e, frame: self.each(self.expr(e[1], frame), self.entered),
            "e": lambda e, frame: self.each(self.expr(e[1], frame), self.instances),
            "u": lambda e, frame: self.each(
                self.expr(e[1], frame), lambda value: self.item(value, (Const(e[2]),))
            ),
            "ur": self.starred,
            "m": lambda e, frame: self.imports.module(e[1], e[2], frame.path),
            "mt": lambda e, frame: self.imports.module(e[1].partition(".")[0], 0, frame.path),
            "mf": self.imported,
            "st": self.stored,
            "up": self.updated,
            "is": self.narrowed,
            "an": self.annotated,
            "op": self.operated,
        }

    def question(self, ask: Callable[[], Values], topic: Frame) -> Values:
        """Answer one question within the bounds.

        Questions of one topic share partial answers; what those leave vague is asked anew.
        """
        shared = topic == self._topic
        self._topic = topic
        for again in (shared, False):
            if not again:
                self._partial.clear()
            self._fuel = FUEL
            self._cut = NEVER
            values = ask()
            if self._cut == NEVER or not again or any(map(_is_known, values)):
                break
        return values

    def unhurried(self, compute: Callable[[], T]) -> tuple[T, bool]:
        """A fact that everything depends on: some fuel is kept for it; whether that was enough."""
        before, self._cut = self._cut, NEVER
        self._fuel = max(self._fuel, RESERVE)
        found = compute()
        complete = self._cut != -1
        self._cut = min(before, self._cut)
        return found, complete

    def memo(self, key: Any, compute: Callable[[], Values]) -> Values:
        """What `compute` gives, computed once."""
        known = self._done.get(key)
        if known is None:
            known = self._partial.get(key)
        if known is not None:
            return known
        if key in self._active:
            self._cut = min(self._cut, self._active[key])
            return ()
        depth = len(self._active)
        self._fuel -= 1
        if depth >= MAX_DEPTH or self._fuel < 0:
            self._cut = -1
            return ()
        self._active[key] = depth
        before, self._cut = self._cut, NEVER
        try:
            values = compute()
        finally:
            del self._active[key]
        (self._done if self._cut >= depth else self._partial)[key] = values
        self._cut = min(before, self._cut) if self._cut < depth else before
        return values

    def expr(self, expr: Expr, frame: Frame) -> Values:
        """What an expression may be; empty when nothing is known."""
        if not expr:
            return ()
        if self._nesting >= MAX_NESTING:
            self._cut = -1
            return ()
        self._nesting += 1
        try:
            return self._tags[expr[0]](expr, frame)
        finally:
            self._nesting -= 1

    def any_of(self, several: Iterable[Expr], frame: Frame) -> Values:
        values: list[Value] = []
        for one in several:
            values.extend(self.expr(one, frame))
        return distinct(values)

    def each(self, values: Values, ask: Callable[[Value], Values]) -> Values:
        """The union of what each value gives."""
        found: list[Value] = []
        for value in values:
            found.extend(ask(value))
        return distinct(found)

    def file(self, path: str) -> File:
        return self.repository.file(path)

    def definitions(self, defs: list[int], frame: Frame) -> Values:
        """The union of some assignments of a file."""
        rows = self.file(frame.path).defs
        found: list[Value] = []
        for one in defs:
            scope, expr = rows[one]
            if not expr:
                continue
            at = frame if scope == frame.scope else self.frame_of(scope, frame)
            found.extend(
                self.memo(("n", one, at), lambda expr=expr, at=at: self.expr(expr, at))  # type: ignore[misc]
            )
        return distinct(found) if len(found) > 1 else tuple(found)

    def local_name(self, expr: list[Any], frame: Frame) -> Values:
        weak = self.file(frame.path).scopes[frame.scope].weak.get(expr[1])
        return self.definitions([*expr[2], *weak] if weak else expr[2], frame)

    def bound_name(self, name: str, frame: Frame) -> Values:
        """A name of a scope, seen from elsewhere."""
        scope = self.file(frame.path).scopes[frame.scope]
        return self.definitions([*scope.names.get(name, ()), *scope.weak.get(name, ())], frame)

    def interned(self, frame: Frame) -> Frame:
        """The first frame that is equal: so that comparing nested frames stays cheap."""
        return self._frames.setdefault(frame, frame)

    def frame_of(self, scope: int, frame: Frame | None) -> Frame:
        """The frame of a scope of the same file, as seen from an inner one."""
        at = frame
        while at is not None and at.scope != scope:
            at = at.outer
        assert frame is not None
        return at or Frame(frame.path, scope)

    def scope_value(self, expr: list[Any], frame: Frame) -> Values:
        """A function or class where it is defined; a closure keeps the frame it was made in."""
        if self.file(frame.path).outlines[expr[1]].kind == CLASS:
            return (Class(frame.path, expr[1]),)
        return (Function(frame.path, expr[1], frame if frame.bindings or frame.outer else None),)

    def is_module_level(self, frame: Frame) -> bool:
        return self.file(frame.path).outlines[frame.scope].kind == MODULE

    def annotated(self, expr: list[Any], frame: Frame) -> Values:
        return self.type_of(expr[1], frame) or self.expr(expr[2], frame)

    def narrowed(self, expr: list[Any], frame: Frame) -> Values:
        """After `isinstance`: what it was before where that fits, else an instance."""
        old = self.expr(expr[2], frame)
        classes = self.expr(expr[1], frame)
        wanted = self.each(classes, self.instances)
        wanted_classes = {one.cls for one in wanted if isinstance(one, Instance)}
        fitting = [
            one
            for one in old
            if isinstance(one, Instance) and wanted_classes.intersection(self.mro(one.cls))
        ]
        return tuple(fitting) or wanted

    def force(self, thunk: Thunk | Given) -> Values:
        """Evaluate what was put off."""
        if not isinstance(thunk, Thunk):
            return thunk.values
        return self.memo(thunk, lambda: self.expr(thunk.expr, thunk.frame))

    # Implemented by the layers above.

    def free_name(self, expr: list[Any], frame: Frame) -> Values:
        raise NotImplementedError

    def imported(self, expr: list[Any], frame: Frame) -> Values:
        raise NotImplementedError

    def attribute(self, value: Value, name: str) -> Values:
        raise NotImplementedError

    def attributes(self, values: Values, name: str) -> Values:
        return self.each(values, lambda value: self.attribute(value, name))

    def mro(self, cls: Class) -> tuple[Class | External, ...]:
        raise NotImplementedError

    def call(self, index: int, frame: Frame) -> Values:
        raise NotImplementedError

    def parameter(self, index: int, frame: Frame) -> Values:
        raise NotImplementedError

    def decorated(self, scope: int, result: Expr, frame: Frame) -> Values:
        raise NotImplementedError

    def type_of(self, expr: Expr, frame: Frame) -> Values:
        raise NotImplementedError

    def sequence(self, expr: list[Any], frame: Frame) -> Values:
        raise NotImplementedError

    def mapping(self, expr: list[Any], frame: Frame) -> Values:
        raise NotImplementedError

    def slice(self, expr: list[Any], frame: Frame) -> Values:
        raise NotImplementedError

    def starred(self, expr: list[Any], frame: Frame) -> Values:
        raise NotImplementedError

    def stored(self, expr: list[Any], frame: Frame) -> Values:
        raise NotImplementedError

    def updated(self, expr: list[Any], frame: Frame) -> Values:
        raise NotImplementedError

    def operated(self, expr: list[Any], frame: Frame) -> Values:
        raise NotImplementedError

    def subscript(self, base: Expr, index: Expr, frame: Frame) -> Values:
        raise NotImplementedError

    def item(self, value: Value, index: Values) -> Values:
        raise NotImplementedError

    def elements(self, value: Value) -> Values:
        raise NotImplementedError

    def entered(self, value: Value) -> Values:
        raise NotImplementedError

    def instances(self, value: Value) -> Values:
        raise NotImplementedError


def _is_known(value: Value) -> bool:
    return value != EXTERNAL[0]
