"""Lists, tuples and dicts whose elements are followed."""

from typing import Any

from pi_extractors.call_graph.names import MAX_ITEMS, Names
from pi_extractors.call_graph.summary import Expr
from pi_extractors.call_graph.values import (
    BUILT_IN,
    EXTERNAL,
    Box,
    Class,
    Const,
    External,
    Frame,
    Given,
    Instance,
    Method,
    Thunk,
    Value,
    Values,
    distinct,
)


class Containers(Names):
    """Boxes: making, changing, reading."""

    def sequence(self, expr: list[Any], frame: Frame) -> Values:
        kind = "tuple" if expr[0] == "t" else "list"
        items: list[tuple[str | int | None, Thunk | Given]] = []
        rest: list[Thunk | Given] = []
        for part in expr[1][:MAX_ITEMS]:
            if part and part[0] == "*":
                rest.append(Given(self.each(self.expr(part[1], frame), self.elements)))
            elif rest:
                rest.append(Thunk(frame, part))
            else:
                items.append((len(items), Thunk(frame, part)))
        return (Box(kind, tuple(items), tuple(rest)),)

    def mapping(self, expr: list[Any], frame: Frame) -> Values:
        items: dict[str | int | None, Thunk | Given] = {}
        rest: list[Thunk | Given] = []
        for key, value in expr[1][:MAX_ITEMS]:
            if key is None:
                others = self.expr(value, frame)
                for box in others:
                    if isinstance(box, Box):
                        items.update(dict(box.items))
                        rest.extend(box.rest)
                continue
            keys = self.keys(self.expr(key, frame))
            if keys is None:
                rest.append(Thunk(frame, value))
            else:
                items.update(dict.fromkeys(keys, Thunk(frame, value)))
        return (Box("dict", tuple(items.items()), tuple(rest)),)

    def keys(self, values: Values) -> "list[str | int | None] | None":
        """The constants that an index may be; None when it may be anything."""
        if not values or not all(isinstance(one, Const) for one in values):
            return None
        return [one.value for one in values if isinstance(one, Const)]

    def stored(self, expr: list[Any], frame: Frame) -> Values:
        """`base[key] = value`, or an element added at an unknown place."""
        base, keys = self.expr(expr[1], frame), self.keys(self.expr(expr[2], frame))
        thunk = Thunk(frame, expr[3])
        found: list[Value] = []
        for value in base:
            if not isinstance(value, Box):
                found.append(value)
            elif keys and len(keys) == 1:
                items = {**dict(value.items), keys[0]: thunk}
                found.append(Box(value.kind, tuple(items.items()), value.rest))
            elif len(value.rest) < MAX_ITEMS:
                found.append(Box(value.kind, value.items, distinct_thunks(*value.rest, thunk)))
            else:
                found.append(value)
        return distinct(found)

    def updated(self, expr: list[Any], frame: Frame) -> Values:
        """`base.update(other)`, `base.extend(other)`, `base += other`."""
        base, others = self.expr(expr[1], frame), self.expr(expr[2], frame)
        boxes = [one for one in others if isinstance(one, Box)]
        found: list[Value] = []
        for value in base:
            if not isinstance(value, Box) or not boxes:
                found.append(value)
                continue
            for other in boxes:
                if value.kind == "dict":
                    items = {**dict(value.items), **dict(other.items)}
                    rest = distinct_thunks(*value.rest, *other.rest)
                else:
                    items = dict(value.items)
                    added = (*(thunk for _, thunk in other.items), *other.rest)
                    rest = distinct_thunks(*value.rest, *added)
                found.append(Box(value.kind, tuple(items.items()), rest[:MAX_ITEMS]))
        return distinct(found) if base else others

    def subscript(self, base: Expr, index: Expr, frame: Frame) -> Values:
        values = self.expr(base, frame)
        if not values:
            return ()
        indexes = self.expr(index, frame)
        return self.each(values, lambda value: self.item(value, indexes))

    def item(self, value: Value, index: Values) -> Values:
        """`value[index]`."""
        if isinstance(value, Box):
            keys = self.keys(index)
            if keys is None:
                return self.content(value)
            found: list[Value] = []
            items = dict(value.items)
            for key in keys:
                if isinstance(key, int) and key < 0 and value.kind != "dict" and not value.rest:
                    key += len(items)
                hit = items.get(key)
                if hit is not None:
                    found.extend(self.force(hit))
                else:
                    for thunk in value.rest:
                        found.extend(self.force(thunk))
            return distinct(found)
        if isinstance(value, Instance):
            return self.each(self.attribute(value, "__getitem__"), lambda one: self.returned(one))
        return EXTERNAL if isinstance(value, External | Const) else ()

    def content(self, box: Box) -> Values:
        """Every element of a container; the values of a dict."""
        found: list[Value] = []
        for _, thunk in box.items:
            found.extend(self.force(thunk))
        for thunk in box.rest:
            found.extend(self.force(thunk))
        return distinct(found)

    def slice(self, expr: list[Any], frame: Frame) -> Values:
        low, high = expr[2], expr[3]
        found: list[Value] = []
        for value in self.expr(expr[1], frame):
            if not isinstance(value, Box):
                found.extend(self.item(value, ()) if isinstance(value, Instance) else EXTERNAL)
            elif value.rest or (low is None and high is None):
                found.append(value)
            else:
                part = [thunk for _, thunk in value.items][low:high]
                found.append(Box(value.kind, tuple(enumerate(part))))
        return distinct(found)

    def starred(self, expr: list[Any], frame: Frame) -> Values:
        """`a, *b, c = value`: the list `b`."""
        _, base, before, after = expr
        found: list[Value] = []
        for value in self.expr(base, frame):
            if isinstance(value, Box) and not value.rest:
                part = [thunk for _, thunk in value.items]
                part = part[before : len(part) - after]
                found.append(Box("list", tuple(enumerate(part))))
            else:
                found.append(Box("list", (), (Given(self.elements(value)),)))
        return distinct(found)

    def elements(self, value: Value) -> Values:
        """What iterating over a value gives."""
        if isinstance(value, Box):
            if value.kind == "dict":
                return EXTERNAL
            return self.content(value)
        if isinstance(value, Instance):
            found: list[Value] = []
            for iterator in self.each(self.attribute(value, "__iter__"), self.returned):
                if isinstance(iterator, Instance):
                    for name in ("__next__", "next"):
                        following = self.attribute(iterator, name)
                        found.extend(self.each(following, self.returned))
                else:
                    found.extend(self.elements(iterator))
            return distinct(found) or self.item(value, EXTERNAL)
        return EXTERNAL if isinstance(value, External | Const) else ()

    def entered(self, value: Value) -> Values:
        """What `with value as name` binds."""
        if isinstance(value, Box):  # a generator under `contextmanager`
            return self.content(value)
        if isinstance(value, Instance):
            found: list[Value] = []
            for name in ("__enter__", "__aenter__"):
                found.extend(self.each(self.attribute(value, name), self.returned))
            return distinct(found) or (value,)
        return EXTERNAL if isinstance(value, External) else ()

    def instances(self, value: Value) -> Values:
        """Instances of the class or classes that `isinstance` and `except` name."""
        if isinstance(value, Class):
            return (Instance(value),)
        if isinstance(value, Box):
            return self.each(self.content(value), self.instances)
        return EXTERNAL if isinstance(value, External) else ()

    def box_method(self, box: Box, name: str) -> Values:
        """A method of a container; external where its result is nothing to follow."""
        known = {"get", "pop", "setdefault", "values", "items", "copy", "popleft", "popitem"}
        return (Method(box, name),) if name in known else BUILT_IN

    def box_result(self, method: Method, index: Values) -> Values:
        """What calling a container's method gives."""
        box = method.box
        if method.name in ("get", "setdefault"):
            return self.item(box, index)
        if method.name in ("pop", "popleft"):
            return self.item(box, index) if index else self.content(box)
        if method.name == "copy":
            return (box,)
        if method.name == "values":
            return (Box("list", (), (*(thunk for _, thunk in box.items), *box.rest)),)
        content = self.content(box)
        pair = Box("tuple", ((0, Given(EXTERNAL)), (1, Given(content))))
        return (Box("list", (), (Given((pair,)),)),) if content else EXTERNAL

    def returned(self, value: Value) -> Values:
        """What calling a value without arguments gives."""
        raise NotImplementedError


def distinct_thunks(*thunks: Thunk | Given) -> tuple[Thunk | Given, ...]:
    """Each once, in order."""
    return tuple(dict.fromkeys(thunks))
