"""What a few functions of the standard library do with what the repository passes to them."""

from pi_extractors.call_graph.calls import Calls
from pi_extractors.call_graph.summary import CallRow
from pi_extractors.call_graph.values import (
    BUILT_IN,
    EXTERNAL,
    Bound,
    Box,
    Class,
    Const,
    External,
    Frame,
    Function,
    Given,
    Instance,
    Partial,
    Super,
    Value,
    Values,
    distinct,
)

SAME = frozenset(
    [
        "copy.copy",
        "copy.deepcopy",
        "functools.lru_cache",
        "functools.cache",
        "functools.update_wrapper",
        "functools.total_ordering",
        "builtins.staticmethod",
        "builtins.classmethod",
        "contextlib.contextmanager",
        "contextlib.asynccontextmanager",
        "abc.abstractmethod",
        "typing.overload",
        "typing.no_type_check",
        "functools.singledispatch",
    ]
)
COPIES = frozenset(
    f"builtins.{name}"
    for name in ["list", "tuple", "set", "frozenset", "sorted", "reversed", "iter"]
)
HIGHER_ORDER = frozenset(
    [
        "builtins.map",
        "builtins.filter",
        "builtins.sorted",
        "builtins.min",
        "builtins.max",
        "functools.reduce",
    ]
)


class Externals(Calls):
    """Results of calls of external things."""

    def external_result(self, name: str, row: CallRow, index: int, frame: Frame) -> Values:
        args = row.args
        if name == "builtins.super":
            return self.explicit_super(row, frame) if args else self.super_of(frame)
        if name.startswith("builtins.object."):
            return BUILT_IN
        if not args:
            return (Box("dict"),) if name == "builtins.dict" else EXTERNAL
        if name in SAME:
            values = self.expr(args[-1] if name.endswith("update_wrapper") else args[0], frame)
            return values or EXTERNAL
        if name == "builtins.type" and len(args) == 1:
            return self.each(self.expr(args[0], frame), _class_of)
        if name == "functools.partial":
            return tuple(
                Partial(one, frame, index)
                for one in self.expr(args[0], frame)
                if isinstance(one, Function | Bound | Class)
            )
        if name == "typing.cast" and len(args) == 2:
            return self.type_of(args[0], frame) or self.expr(args[1], frame)
        if name == "builtins.getattr" and len(args) > 1:
            found: list[Value] = list(self.expr(args[2], frame)) if len(args) > 2 else []
            for one in self.expr(args[1], frame):
                if isinstance(one, Const) and isinstance(one.value, str):
                    found.extend(self.attributes(self.expr(args[0], frame), one.value))
            return distinct(found)
        return self.iterated(name, row, frame)

    def iterated(self, name: str, row: CallRow, frame: Frame) -> Values:
        """Functions of iterables."""
        first = self.expr(row.args[0], frame)
        if name in COPIES:
            boxes = tuple(one for one in first if isinstance(one, Box) and one.kind != "dict")
            return boxes or (Box("list", (), (Given(self.each(first, self.elements)),)),)
        if name == "builtins.next":
            return self.each(first, self.following)
        if name == "builtins.enumerate":
            pair = Box("tuple", ((0, Given(EXTERNAL)), (1, Given(self.each(first, self.elements)))))
            return (Box("list", (), (Given((pair,)),)),)
        if name == "builtins.zip":
            items = [
                Given(self.each(self.expr(one, frame), self.elements))
                for one in row.args
                if not (one and one[0] == "*")
            ]
            return (Box("list", (), (Given((Box("tuple", tuple(enumerate(items))),)),)),)
        if name in ("builtins.map", "itertools.starmap"):
            content = self.each(self.any_of(row.args, frame), self.mapped)
            return (Box("list", (), (Given(content),)),) if content else EXTERNAL
        if name == "builtins.filter" and len(row.args) > 1:
            content = self.each(self.expr(row.args[1], frame), self.elements)
            return (Box("list", (), (Given(content),)),)
        if name in ("builtins.min", "builtins.max") and len(row.args) == 1:
            return self.each(first, self.elements)
        if name == "builtins.dict":
            return tuple(one for one in first if isinstance(one, Box)) or EXTERNAL
        return EXTERNAL

    def mapped(self, value: Value) -> Values:
        return self.returned(value) if isinstance(value, Function | Bound | Class) else ()

    def following(self, value: Value) -> Values:
        """`next(value)`."""
        if isinstance(value, Instance):
            return self.each(self.attribute(value, "__next__"), self.returned)
        return self.elements(value)

    def explicit_super(self, row: CallRow, frame: Frame) -> Values:
        """`super(Class, self)`."""
        if len(row.args) < 2:
            return ()
        receivers = self.expr(row.args[1], frame)
        return tuple(
            Super(cls, one)
            for cls in self.expr(row.args[0], frame)
            for one in receivers
            if isinstance(cls, Class) and isinstance(one, Instance | Class)
        )

    def operated(self, expr: list[object], frame: Frame) -> Values:
        """Operators, by the method of the left side."""
        left: Values = self.expr(expr[1], frame)  # type: ignore[arg-type]
        name = str(expr[3])
        if name == "__add__":
            boxes = [one for one in left if isinstance(one, Box)]
            if boxes:
                return self.updated(["up", expr[1], expr[2]], frame)
        found: list[Value] = []
        for one in left:
            if isinstance(one, Instance) and name:
                found.extend(self.each(self.attribute(one, name), self.returned))
            elif isinstance(one, Const | External):
                found.append(External())
        return distinct(found)


def _class_of(value: Value) -> Values:
    if isinstance(value, Instance):
        return (value.cls,)
    return EXTERNAL if isinstance(value, Const | External | Box) else ()
