"""Annotations read as types."""

from pi_extractors.call_graph.classes import Classes
from pi_extractors.call_graph.summary import Expr, last
from pi_extractors.call_graph.values import (
    Box,
    Class,
    External,
    Frame,
    Given,
    Instance,
    Value,
    Values,
    distinct,
)

TRANSPARENT = frozenset({"Optional", "Union", "Annotated", "Final", "ClassVar", "Required"})
LISTS = frozenset(
    [
        "List",
        "list",
        "Sequence",
        "Iterable",
        "Iterator",
        "Generator",
        "Set",
        "set",
        "FrozenSet",
        "frozenset",
        "Collection",
        "Tuple",
        "tuple",
        "Deque",
        "deque",
        "MutableSequence",
        "AbstractSet",
        "AsyncIterator",
        "AsyncGenerator",
        "AsyncIterable",
        "Container",
    ]
)
DICTS = frozenset(
    ["Dict", "dict", "Mapping", "MutableMapping", "DefaultDict", "OrderedDict", "defaultdict"]
)
VAGUE = ("typing.", "typing_extensions.", "builtins.object", "builtins.type", "collections.abc.")
MAX_DEPTH = 6


class Annotations(Classes):
    """Types that annotations name; only classes of the repository and containers of them."""

    def type_of(self, expr: Expr, frame: Frame, depth: int = 0) -> Values:
        """Instances of what an annotation names."""
        if not expr or depth > MAX_DEPTH:
            return ()
        if expr[0] == "s":
            return self.subscripted(expr[1], expr[2], frame, depth)
        if expr[0] in ("op", "o"):
            parts = expr[1:3] if expr[0] == "op" else expr[1]
            return self.types_of(parts, frame, depth + 1)
        if expr[0] not in ("n", "g", "a"):
            return ()
        found: list[Value] = []
        for one in self.expr(expr, frame):
            if isinstance(one, Class):
                found.append(Instance(one))
            elif isinstance(one, External) and not one.name.startswith(VAGUE):
                found.append(External(f"{one.name}()"))
        return distinct(found)

    def types_of(self, parts: list[Expr], frame: Frame, depth: int) -> Values:
        """Instances of any of several types."""
        found: list[Value] = []
        for part in parts:
            found.extend(self.type_of(part, frame, depth))
        return distinct(found)

    def subscripted(self, base: Expr, index: Expr, frame: Frame, depth: int) -> Values:
        name = last(base)
        parts = index[1] if index and index[0] == "t" else [index]
        if name in TRANSPARENT:
            return self.types_of(parts, frame, depth + 1)
        if name in ("Type", "type"):
            return tuple(
                one.cls
                for one in self.type_of(parts[0], frame, depth + 1)
                if isinstance(one, Instance)
            )
        if name in LISTS or name in DICTS:
            if not all(isinstance(one, External) for one in self.expr(base, frame)):
                return self.type_of(base, frame, depth + 1)
            element = parts[-1] if name in DICTS else parts[0]
            if name in ("Tuple", "tuple") and len(parts) > 1:
                items = [Given(self.type_of(part, frame, depth + 1)) for part in parts]
                return (Box("tuple", tuple(enumerate(items))),)
            content = self.type_of(element, frame, depth + 1)
            kind = "dict" if name in DICTS else "list"
            return (Box(kind, (), (Given(content),)),) if content else ()
        return self.type_of(base, frame, depth + 1)
