"""What an expression may be: the abstract values of the linker."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pi_extractors.call_graph.summary import Expr


@dataclass(frozen=True, slots=True)
class Frame:
    """Where an expression is evaluated: a scope, and what is known of its parameters.

    Without bindings, a parameter is whatever the call sites of the repository pass.
    """

    path: str
    scope: int
    bindings: tuple[tuple[int, "Values"], ...] = ()
    outer: "Frame | None" = None  # of the enclosing function, where a closure was made
    depth: int = 0
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        key = (self.path, self.scope, self.bindings, self.outer)
        object.__setattr__(self, "_hash", hash(key))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Module:
    """A file of the repository."""

    path: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A package without `__init__.py`."""

    path: str


@dataclass(frozen=True, slots=True)
class Class:
    """A class of the repository."""

    path: str
    scope: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the repository, with the frame that its free names come from."""

    path: str
    scope: int
    outer: Frame | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """An object of a class of the repository."""

    cls: Class


@dataclass(frozen=True, slots=True)
class Bound:
    """A function with its first argument."""

    function: Function
    receiver: "Instance | Class"


@dataclass(frozen=True, slots=True)
class Super:
    """`super()`: what follows a class in the receiver's method resolution order."""

    cls: Class
    receiver: "Instance | Class"


@dataclass(frozen=True, slots=True)
class External:
    """Something from outside: its dotted name, or empty for what such a thing returned."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Const:
    """A string, a number, a truth value or None."""

    value: str | int | None


@dataclass(frozen=True, slots=True, eq=False)
class Thunk:
    """An expression to evaluate later; equal when it is the same expression in an equal frame."""

    frame: Frame
    expr: Expr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thunk) and self.expr is other.expr and self.frame == other.frame

    def __hash__(self) -> int:
        return hash((id(self.expr), self.frame))


@dataclass(frozen=True, slots=True)
class Box:
    """A container. `items`: by position or key; `rest`: elements at unknown places."""

    kind: str  # list, tuple, dict
    items: tuple[tuple[str | int | None, "Thunk | Given"], ...] = ()
    rest: tuple["Thunk | Given", ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """Values that are known already, in the place of a thunk."""

    values: "Values"


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a container, as `items` of a dict."""

    box: Box
    name: str


@dataclass(frozen=True, slots=True)
class Partial:
    """`functools.partial` of something, and the call that made it."""

    function: "Value"
    frame: Frame
    call: int


Value: TypeAlias = (
    Module | Folder | Class | Function | Instance | Bound | Super | External | Const | Box | Method
    | Partial
)  # fmt: skip
Values: TypeAlias = tuple[Value, ...]
Json: TypeAlias = dict[str, Any]
EXTERNAL: Values = (External(),)
BUILT_IN: Values = (External("builtins.object.attribute"),)
"""What is known to be external, as a method of a string is."""


MOST_VALUES = 24
MOST_BOXES = 4


def distinct(values: "list[Value] | Values") -> Values:
    """Each value once, in order; of very many the first."""
    found = tuple(dict.fromkeys(values)) if len(values) > 1 else tuple(values)
    if len(found) > MOST_BOXES:
        boxes = [one for one in found if isinstance(one, Box)]
        if len(boxes) > MOST_BOXES:
            dropped = set(map(id, boxes[MOST_BOXES:]))
            found = tuple(one for one in found if id(one) not in dropped)
    return found[:MOST_VALUES]
