"""Classes: method resolution order, attributes, descriptors, subclasses."""

from collections.abc import Iterator, Sequence
from typing import Any

from pi_extractors.call_graph.containers import Containers
from pi_extractors.call_graph.repository import is_test
from pi_extractors.call_graph.summary import CLASS, FUNCTION
from pi_extractors.call_graph.values import (
    BUILT_IN,
    EXTERNAL,
    Bound,
    Box,
    Class,
    Const,
    External,
    Folder,
    Frame,
    Function,
    Instance,
    Method,
    Module,
    Partial,
    Super,
    Value,
    Values,
    distinct,
)

MAX_SUBCLASSES = 60
MAX_BELOW = 8
CLASS_METHODS = frozenset({"__new__", "__init_subclass__", "__class_getitem__"})
Ancestor = Class | External


class Classes(Containers):
    """Attributes of modules, classes and instances."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._mro: dict[Class, tuple[Ancestor, ...]] = {}
        self._kinds: dict[tuple[str, int], str] = {}
        self._stores: dict[str, dict[tuple[int, str], list[list[Any]]]] = {}
        self._subclasses: dict[Class, list[Class]] = {}

    def mro(self, cls: Class) -> tuple[Ancestor, ...]:
        """Python's method resolution order; depth first where that has none."""
        if cls not in self._mro:
            self._mro[cls] = (cls,)  # what a cycle sees
            order, complete = self.unhurried(lambda: self.find_mro(cls))
            if not complete:
                del self._mro[cls]
                return order
            self._mro[cls] = order
        return self._mro[cls]

    def find_mro(self, cls: Class) -> tuple[Ancestor, ...]:
        bases: list[Ancestor] = []
        frame = Frame(cls.path, self.file(cls.path).outlines[cls.scope].parent)
        for base in self.file(cls.path).scopes[cls.scope].bases:
            known = [one for one in self.expr(base, frame) if isinstance(one, Class | External)]
            bases += known[:1] if known else [External()]
        sequences: list[list[Ancestor]] = [
            list(self.mro(one)) if isinstance(one, Class) else [one] for one in bases
        ]
        return (cls, *linearise([*sequences, bases]))

    def subclasses(self, cls: Class) -> list[Class]:
        """Direct and indirect subclasses, nearest first."""
        if cls not in self._subclasses:
            found: dict[Class, None] = {}
            todo = [cls]
            while todo and len(found) < MAX_SUBCLASSES:
                parent = todo.pop(0)
                name = self.file(parent.path).outlines[parent.scope].name
                for at, scope in self.repository.derived.get(name, [])[:MAX_SUBCLASSES]:
                    child = Class(self.repository.paths[at], scope)
                    if is_test(child.path) and not is_test(cls.path):
                        continue
                    if child not in found and parent in self.mro(child)[1:]:
                        found[child] = None
                        todo.append(child)
            self._subclasses[cls] = list(found)
        return self._subclasses[cls]

    def method_kind(self, path: str, scope: int) -> str:
        """`static`, `class`, `property` or nothing, by the decorators of a function."""
        key = (path, scope)
        if key not in self._kinds:
            file = self.file(path)
            names = [file.calls[one].name for one in file.scopes[scope].decorators]
            kind = ""
            if any("property" in name.lower() for name in names) and "classproperty" not in names:
                kind = "property"
            elif "staticmethod" in names:
                kind = "static"
            elif "classmethod" in names or file.outlines[scope].name in CLASS_METHODS:
                kind = "class"
            self._kinds[key] = kind
        return self._kinds[key]

    def is_method(self, path: str, scope: int) -> bool:
        """Whether a function is defined in the body of a class."""
        outlines = self.file(path).outlines
        one = outlines[scope]
        return one.kind == FUNCTION and one.parent > 0 and outlines[one.parent].kind == CLASS

    def attribute(self, value: Value, name: str) -> Values:
        """`value.name`."""
        if isinstance(value, Module):
            return self.memo((value, name), lambda: self.module_name(value.path, name))
        if isinstance(value, Folder):
            return self.imports.submodule(value, name)
        if isinstance(value, Instance | Class):
            return self.memo((value, name), lambda: self.member(value, name))
        if isinstance(value, Super):
            order = self.mro(_class_of(value.receiver))
            after = order[order.index(value.cls) + 1 :] if value.cls in order else ()
            return self.memo((value, name), lambda: self.found_in(after, value.receiver, name))
        if isinstance(value, External):
            return (External(f"{value.name}.{name}" if value.name else ""),)
        if isinstance(value, Box):
            return self.box_method(value, name)
        if isinstance(value, Const | Method | Partial):
            return () if value == Const(None) else BUILT_IN
        if isinstance(value, Bound) and name in ("__func__", "__self__"):
            return (value.function if name == "__func__" else value.receiver,)
        return self.function_attribute(value, name) if isinstance(value, Function) else ()

    def function_attribute(self, function: Function, name: str) -> Values:
        """`function.name = value` where the function's own file says so."""
        found: list[Value] = []
        for scope, base, stored, value in self.file(function.path).stores:
            if stored == name and base and base[0] in ("n", "g"):
                frame = Frame(function.path, scope)
                if any(
                    isinstance(one, Function) and one.scope == function.scope
                    for one in self.expr(base, frame)
                ):
                    found.extend(self.expr(value, frame))
        return distinct(found)

    def member(self, value: Instance | Class, name: str) -> Values:
        cls = _class_of(value)
        if name == "__class__":
            return (cls,) if isinstance(value, Instance) else EXTERNAL
        order = self.mro(cls)
        found = self.found_in(order, value, name)
        if found:
            return found
        if isinstance(value, Class):
            meta = self.from_metaclass(order, value, name)
            if meta:
                return meta
        below: list[Value] = []
        children = self.subclasses(cls)
        if len(children) >= MAX_SUBCLASSES:
            return ()  # an interface of everything: which one is meant is anybody's guess
        for child in children:
            receiver = Instance(child) if isinstance(value, Instance) else child
            below.extend(self.found_in(self.mro(child), receiver, name))
        below = [one for one in below if not isinstance(one, External)]
        return distinct(below) if len(below) <= MAX_BELOW else ()

    def from_metaclass(self, order: Sequence[Ancestor], cls: Class, name: str) -> Values:
        for one in order:
            if isinstance(one, Class):
                file = self.file(one.path)
                frame = Frame(one.path, file.outlines[one.scope].parent)
                for meta in self.expr(file.scopes[one.scope].metaclass, frame):
                    if isinstance(meta, Class) and meta not in order:
                        values = self.found_in(self.mro(meta), Instance(meta), name)
                        return self.each(values, lambda value: (_rebound(value, cls),))
        return ()

    def found_in(self, order: Sequence[Ancestor], receiver: Instance | Class, name: str) -> Values:
        """The first class of an order that has an attribute; external behind an external base."""
        external = False
        for cls in order:
            if isinstance(cls, External):
                external = external or cls.name != "builtins.object"
                continue
            found = self.own(cls, receiver, name)
            if found:
                return found
        return EXTERNAL if external else ()

    def own(self, cls: Class, receiver: Instance | Class, name: str) -> Values:
        """What a class itself says of an attribute: in its body, and by assignment to `self`."""
        file = self.file(cls.path)
        found: list[Value] = []
        defs = file.scopes[cls.scope].names.get(name)
        if defs:
            values = self.definitions(defs, Frame(cls.path, cls.scope))
            found.extend(self.each(values, lambda value: self.bind_to(value, receiver, cls)))
        for scope, _, _, value in self.stores_of(cls.path).get((cls.scope, name), ()):
            found.extend(self.expr(value, self.method_frame(cls.path, scope, receiver)))
        return distinct(found)

    def method_frame(self, path: str, scope: int, receiver: Instance | Class) -> Frame:
        """The frame of a method whose first argument is known."""
        if self.is_method(path, scope) and self.method_kind(path, scope) != "static":
            if self.method_kind(path, scope) == "class":
                receiver = _class_of(receiver)
            return self.interned(Frame(path, scope, ((0, (receiver,)),), None, 1))
        return Frame(path, scope)

    def stores_of(self, path: str) -> dict[tuple[int, str], list[list[Any]]]:
        """Assignments to attributes of `self` and `cls` in a file, by class and name."""
        if path not in self._stores:
            table: dict[tuple[int, str], list[list[Any]]] = {}
            file = self.file(path)
            for row in file.stores:
                owner = self.repository.owner(path, row[0])
                if owner > 0 and self.is_receiver(path, row[0], row[1]):
                    table.setdefault((owner, row[2]), []).append(row)
            self._stores[path] = table
        return self._stores[path]

    def is_receiver(self, path: str, scope: int, base: Any) -> bool:
        """Whether an expression is the first parameter of the method that it stands in."""
        file = self.file(path)
        while scope > 0 and not self.is_method(path, scope):
            scope = file.outlines[scope].parent
        params = file.scopes[scope].params if scope > 0 else []
        return bool(
            base
            and base[0] in ("n", "g")
            and params
            and base[1] == params[0][0]
            and self.method_kind(path, scope) != "static"
        )

    def bind_to(self, value: Value, receiver: Instance | Class, cls: Class) -> Values:
        """What an attribute of a class becomes when it is read from a class or an instance."""
        if isinstance(value, Function):
            if not self.is_method(value.path, value.scope):
                lambda_or_alias = isinstance(receiver, Instance)
                return (Bound(value, receiver),) if lambda_or_alias else (value,)
            kind = self.method_kind(value.path, value.scope)
            if kind == "static":
                return (value,)
            if kind == "class":
                return (Bound(value, _class_of(receiver)),)
            if isinstance(receiver, Class):
                return (value,)
            if kind == "property":
                return self.returned(Bound(value, receiver)) or ()
            return (Bound(value, receiver),)
        if isinstance(value, Instance) and isinstance(receiver, Instance | Class):
            getters = self.found_in(self.mro(value.cls), value, "__get__")
            getters = tuple(one for one in getters if isinstance(one, Bound))
            if getters:
                return self.each(getters, self.returned) or (value,)
        return (value,)


def _class_of(value: Instance | Class) -> Class:
    return value.cls if isinstance(value, Instance) else value


def _rebound(value: Value, cls: Class) -> Value:
    return Bound(value.function, cls) if isinstance(value, Bound) else value


def linearise(sequences: list[list[Ancestor]]) -> Iterator[Ancestor]:
    """C3 linearisation; where it fails, the first head is taken."""
    sequences = [one for one in sequences if one]
    while sequences:
        heads = [one[0] for one in sequences]
        head = next(
            (one for one in heads if not any(one in other[1:] for other in sequences)), heads[0]
        )
        yield head
        sequences = [rest for one in sequences if (rest := [item for item in one if item != head])]
