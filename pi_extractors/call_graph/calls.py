"""Calls: what they return, what they pass, and who makes them."""

from typing import Any

from pi_extractors.call_graph.annotations import Annotations
from pi_extractors.call_graph.repository import is_test
from pi_extractors.call_graph.summary import CLASS, CallRow, Expr, Scope, last
from pi_extractors.call_graph.values import (
    EXTERNAL,
    Bound,
    Box,
    Class,
    External,
    Frame,
    Function,
    Given,
    Instance,
    Method,
    Partial,
    Super,
    Thunk,
    Value,
    Values,
    distinct,
)

MAX_FRAMES = 4
MAX_CALLERS = 30
MAX_CALLING_FILES = 12
MAX_INDIRECT = 80
MAX_PASSED = 8
WRAPPERS = frozenset({"wraps", "update_wrapper"})


class Calls(Annotations):
    """Returned values with the arguments of the call; parameters from all calls."""

    def call(self, index: int, frame: Frame) -> Values:
        row = self.file(frame.path).calls[index]
        at = frame if row.scope == frame.scope else self.frame_of(row.scope, frame)
        return self.memo(("c", index, at), lambda: self.call_row(row, index, at))

    def call_row(self, row: CallRow, index: int, frame: Frame) -> Values:
        found: list[Value] = []
        for callee in self.expr(row.callee, frame):
            found.extend(self.result(callee, row, index, frame))
        return distinct(found)

    def result(self, callee: Value, row: CallRow | None, index: int, frame: Frame) -> Values:
        """What a call of a value returns."""
        if isinstance(callee, Class):
            return (Instance(callee),)
        if isinstance(callee, Function):
            return self.returns(callee, None, row, frame)
        if isinstance(callee, Bound):
            return self.returns(callee.function, callee.receiver, row, frame)
        if isinstance(callee, Instance):
            return self.each(
                self.attribute(callee, "__call__"),
                lambda one: self.result(one, row, index, frame) if isinstance(one, Bound) else (),
            )
        if isinstance(callee, Partial):
            return self.result(callee.function, None, index, frame)
        if isinstance(callee, Method):
            first = row.args[0] if row is not None and row.args else None
            return self.box_result(callee, self.expr(first, frame))
        if isinstance(callee, External) and row is not None:
            return self.external_result(callee.name, row, index, frame)
        return EXTERNAL if isinstance(callee, External) else ()

    def returned(self, value: Value) -> Values:
        where = Frame("", 0)
        return self.result(value, None, 0, where) if not isinstance(value, External) else EXTERNAL

    def returns(
        self,
        function: Function,
        receiver: Instance | Class | None,
        row: CallRow | None,
        frame: Frame,
    ) -> Values:
        """What a function returns, given its first argument and a call."""
        scope = self.file(function.path).scopes[function.scope]
        declared = self.declared(function, scope, receiver)
        if declared:
            return declared
        bindings: list[tuple[int, Values]] = []
        outer = function.outer
        depth = max(frame.depth, outer.depth if outer else 0) + 1
        if scope.depends and depth <= MAX_FRAMES:
            passed = self.arguments(scope, row, frame, 1 if receiver is not None else 0)
            for at in scope.depends:
                if at == 0 and receiver is not None:
                    bindings.append((0, (receiver,)))
                elif at in passed:
                    values = self.passed(passed[at], frame)
                    if values:
                        bindings.append((at, values))
        elif depth > MAX_FRAMES:
            outer = None
        inner = self.interned(Frame(function.path, function.scope, tuple(bindings), outer, depth))
        return self.memo(("r", inner), lambda: self.outcome(scope, inner))

    def outcome(self, scope: Scope, inner: Frame) -> Values:
        if scope.yields:
            return (Box("list", (), tuple(Thunk(inner, one) for one in scope.yields)),)
        return self.any_of(scope.returns, inner)

    def declared(
        self, function: Function, scope: Scope, receiver: Instance | Class | None
    ) -> Values:
        """What the annotation of the result says, where that is a class of the repository."""
        if not scope.result:
            return ()
        if (
            scope.result[0] in ("g", "n", "a")
            and scope.result[-1 if scope.result[0] == "a" else 1] == "Self"
        ):
            return (
                (Instance(receiver) if isinstance(receiver, Class) else receiver,)
                if receiver
                else ()
            )
        parent = self.file(function.path).outlines[function.scope].parent
        declared = self.type_of(scope.result, Frame(function.path, parent))
        if isinstance(receiver, Instance):
            own = {Instance(one) for one in self.mro(receiver.cls)[1:] if isinstance(one, Class)}
            if any(one in own for one in declared) and 0 in scope.depends:
                return ()  # `return self` may be of a subclass
        return declared

    def arguments(
        self, scope: Scope, row: CallRow | None, frame: Frame, skip: int
    ) -> dict[int, list[Expr]]:
        """The expressions that a call passes, by parameter."""
        if row is None:
            return {}
        passed: dict[int, list[Expr]] = {}
        at = skip
        places = [index for index, one in enumerate(scope.params) if one[1] in ("", "*")]
        for arg in row.args:
            if arg and arg[0] == "*":
                passed.setdefault(-1, []).append(["i", arg[1]])
                break
            if at < len(places):
                passed.setdefault(places[at], []).append(arg)
                if scope.params[places[at]][1] != "*":
                    at += 1
        names = {one[0]: index for index, one in enumerate(scope.params)}
        for name, value in row.keywords:
            if name in names:
                passed.setdefault(names[name], []).append(value)
        spread = passed.pop(-1, None)
        if spread:
            for index in places[at:]:
                passed.setdefault(index, []).extend(spread)
        return passed

    def passed(self, exprs: list[Expr], frame: Frame) -> Values:
        return self.any_of(exprs, frame)

    def parameter(self, index: int, frame: Frame) -> Values:
        """What a parameter may be."""
        scope = self.file(frame.path).scopes[frame.scope]
        name, kind, default, hint = scope.params[index]
        bound = dict(frame.bindings).get(index)
        if bound is not None:
            return self.packed(kind, bound)
        parent = self.file(frame.path).outlines[frame.scope].parent
        if index == 0 and self.is_method(frame.path, frame.scope):
            method = self.method_kind(frame.path, frame.scope)
            if method != "static" and name:
                cls = Class(frame.path, parent)
                return (cls,) if method == "class" or self.is_meta(cls) else (Instance(cls),)
        declared = self.type_of(hint, Frame(frame.path, parent))
        if declared:
            return self.packed(kind, declared)
        given = self.expr(default, self.frame_of(parent, frame) if default else frame)
        flowing = self.memo(
            ("flow", frame.path, frame.scope, index),
            lambda: self.flow(frame.path, frame.scope, index),
        )
        values = distinct((*given, *flowing))
        if len([one for one in values if not isinstance(one, External)]) > MAX_PASSED:
            return ()
        return self.packed(kind, values)

    def packed(self, kind: str, values: Values) -> Values:
        if kind == "*":
            return (Box("tuple", (), (Given(values),)),)
        return (Box("dict", (), (Given(values),)),) if kind == "**" else values

    def is_meta(self, cls: Class) -> bool:
        """Whether the instances of a class are classes."""
        return External("builtins.type") in self.mro(cls)

    def flow(self, path: str, scope: int, index: int) -> Values:
        """What the calls of a function pass for a parameter."""
        found: list[Value] = []
        for caller, row, skip in self.callers(path, scope):
            at = Frame(caller, row.scope)
            passed = self.arguments(self.file(path).scopes[scope], row, at, skip)
            if index in passed:
                found.extend(self.passed(passed[index], at))
            if len(found) > 4 * MAX_PASSED:
                break
        return distinct(found)

    def callers(self, path: str, scope: int) -> tuple[Any, ...]:
        """Call sites that may run a function, and how many parameters are bound beforehand."""
        return self.memo(("callers", path, scope), lambda: tuple(self._callers(path, scope)))

    def _callers(self, path: str, scope: int) -> list[Any]:
        outline = self.file(path).outlines[scope]
        names = {outline.name}
        if outline.name in ("__init__", "__new__") and outline.parent > 0:
            names |= self.constructor_names(Class(path, outline.parent))
        elif outline.name == "__call__":
            return []
        found: list[tuple[str, CallRow, int]] = []
        tried = 0
        for file in self.calling_files(path, names):
            rows = [rows for name in sorted(names) for rows in self.calls_of(file, name)]
            if file == path:
                rows += self.indirect(path)
            for row in rows:
                if tried >= MAX_CALLERS:
                    return found
                tried += 1
                skip = self.runs(row, Frame(file, row.scope), path, scope)
                if skip is not None:
                    found.append((file, row, skip))
        return found

    def calls_of(self, file: str, name: str) -> list[CallRow]:
        """The calls in a file that pass something to what has a name."""
        content = self.file(file)
        rows = [content.calls[at] for at in content.named.get(name, ())]
        return [row for row in rows if row.args or row.keywords]

    def indirect(self, path: str) -> list[CallRow]:
        """Calls of what has another name than any definition, unless there are many."""
        named = self.file(path).named
        defined = self.repository.defined
        names = [name for name in named if name not in defined]
        if sum(len(named[name]) for name in names) > MAX_INDIRECT:
            return []
        return [row for name in names for row in self.calls_of(path, name)]

    def constructor_names(self, cls: Class) -> set[str]:
        names = {self.file(cls.path).outlines[cls.scope].name}
        for child in self.subclasses(cls):
            file = self.file(child.path)
            if "__init__" not in file.scopes[child.scope].names:
                names.add(file.outlines[child.scope].name)
        return names

    def calling_files(self, path: str, names: set[str]) -> list[str]:
        """Files that call something of these names, the nearest to a file first."""
        paths = self.repository.paths
        files = {paths[at] for name in names for at in self.repository.called.get(name, ())}
        files.discard(path)
        if not is_test(path):
            files = {one for one in files if not is_test(one)}
        parts = path.split("/")

        def distance(other: str) -> tuple[int, str]:
            common = 0
            for mine, theirs in zip(parts, other.split("/"), strict=False):
                if mine != theirs:
                    break
                common += 1
            return -common, other

        return [path, *sorted(files, key=distance)[:MAX_CALLING_FILES]]

    def runs(self, row: CallRow, frame: Frame, path: str, scope: int) -> int | None:
        """Whether a call may run a function, as the number of parameters bound beforehand."""
        for value in self.expr(row.callee, frame):
            if isinstance(value, Function) and (value.path, value.scope) == (path, scope):
                return 0
            if isinstance(value, Bound):
                if (value.function.path, value.function.scope) == (path, scope):
                    return 1
            elif isinstance(value, Class):
                for one in self.constructors(value):
                    if (one.path, one.scope) == (path, scope):
                        return 1
        return None

    def constructors(self, cls: Class) -> list[Function]:
        """`__init__`, where the repository defines it."""
        found = self.found_in(self.mro(cls), Instance(cls), "__init__")
        return [one.function for one in found if isinstance(one, Bound)]

    def decorated(self, scope: int, result: Expr, frame: Frame) -> Values:
        """A decorated definition: itself, unless its decorators are known to give another."""
        file = self.file(frame.path)
        itself = self.scope_value(["f", scope], frame)
        rows = [file.calls[one] for one in file.scopes[scope].decorators]
        if file.outlines[scope].kind == CLASS or self.method_kind(frame.path, scope):
            return itself
        for row in rows:
            if row.name in WRAPPERS and row.callee and row.callee[0] == "c":
                wrapped = file.calls[row.callee[1]].args
                return (self.expr(wrapped[0], frame) if wrapped else ()) or itself
        values = self.expr(result, frame)
        others = tuple(one for one in values if not isinstance(one, External))
        if not others or others == itself:
            return itself
        if any(isinstance(one, Function) and one.scope == scope for one in others):
            return others
        known = tuple(
            one for one in others if isinstance(one, Function) and not self.is_wrapper(one)
        )
        return distinct((*known, *itself))

    def is_wrapper(self, function: Function) -> bool:
        """Whether `update_wrapper` makes a function stand for another."""
        file = self.file(function.path)
        outline = file.outlines[function.scope]
        rows = [file.calls[one] for one in file.named.get("update_wrapper", ())]
        return any(
            row.scope == outline.parent and row.args and last(row.args[0]) == outline.name
            for row in rows
        )

    def super_of(self, frame: Frame) -> Values:
        """`super()` in a method."""
        file = self.file(frame.path)
        scope = frame.scope
        at: Frame | None = frame
        while scope > 0 and not self.is_method(frame.path, scope):
            scope = file.outlines[scope].parent
            at = at.outer if at is not None else None
        if scope <= 0:
            return ()
        cls = Class(frame.path, file.outlines[scope].parent)
        method = at if at is not None and at.scope == scope else Frame(frame.path, scope)
        receivers = self.parameter(0, method) if file.scopes[scope].params else ()
        return tuple(Super(cls, one) for one in receivers if isinstance(one, Instance | Class))

    def external_result(self, name: str, row: CallRow, index: int, frame: Frame) -> Values:
        """What a call of something external returns."""
        raise NotImplementedError
