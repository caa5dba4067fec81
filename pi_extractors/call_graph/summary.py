"""What one file says, whatever its path: the unit that is computed once for each blob.

Expressions are JSON lists whose first item is a tag:

    n name [def, …]   a local name and the assignments that may reach this use
    g name            a name of an enclosing scope
    a object name     attribute            s object index    subscript
    c call            result of a call     sl object lo hi   slice
    k value           constant             b type            instance of a built-in type
    l [item, …]       list, set            t [item, …]       tuple        * expr   starred item
    d [[key, value]]  dict (key None: `**value`)
    o [expr, …]       any of               op left right dunder
    f scope           function or class    p index           parameter
    i expr            element of iterable  w expr            what `with` binds
    y expr            what `yield`s give   e expr            caught exception
    m module level    module (`mt`: binds the first name)    mf module level name
    st base key value a container after `base[key] = value`; key None: some element
    up base other     a container after `base.update(other)`
    is class old      after `isinstance(old, class)`
    u left index      unpacked item of an assignment; ur left before after: the starred one
"""

from dataclasses import dataclass
from typing import Any

VERSION = "3"
"""Of the extractor: changes when a file may get another summary."""

Expr = list[Any] | None

MODULE, CLASS, FUNCTION, LAMBDA = range(4)
CALL, DECORATOR, ITERATION, RAISE, CALLBACK = range(5)


@dataclass(slots=True)
class Outline:
    """A definition's place; `scopes[0]` of a file is its module."""

    kind: int
    name: str
    parent: int
    line: int
    end_line: int
    signature: str
    doc: str

    def row(self) -> list[Any]:
        """As stored."""
        return [
            self.kind,
            self.name,
            self.parent,
            self.line,
            self.end_line,
            self.signature,
            self.doc,
        ]


@dataclass(slots=True)
class Scope:
    """What a definition binds, takes and returns.

    `names`: assignments visible from inner scopes and other modules. `params`: rows of name, kind
    (`""`, `*`, `**`, `kw`), default, annotation.
    """

    params: list[list[Any]]
    names: dict[str, list[int]]
    returns: list[Expr]
    yields: list[Expr]
    result: Expr  # the annotation
    decorators: list[int]  # calls
    bases: list[Expr]
    metaclass: Expr
    stars: list[list[Any]]  # star imports: module, level
    depends: list[int]  # parameters that the returned value depends on
    weak: dict[str, list[int]]  # assignments to its names that inner scopes make

    def row(self) -> list[Any]:
        """As stored."""
        return [getattr(self, name) for name in self.__slots__]


@dataclass(slots=True)
class CallRow:
    """A call site, or what acts as one: a decorator, an iteration, a raised class."""

    scope: int
    line: int
    column: int
    name: str
    kind: int
    callee: Expr
    args: list[Expr]
    keywords: list[list[Any]]  # name (None: `**`), value

    def row(self) -> list[Any]:
        """As stored."""
        return [getattr(self, name) for name in self.__slots__]


@dataclass(slots=True)
class Summary:
    """A file.

    `defs`: scope and expression of every assignment; `stores`: scope, object, name, value of every
    attribute that is assigned; `error_line`: of the first syntax error, or 0.
    """

    outlines: list[Outline]
    scopes: list[Scope]
    defs: list[list[Any]]
    calls: list[CallRow]
    stores: list[list[Any]]
    error_line: int
    old: bool  # has syntax of Python 2 only

    def head(self) -> dict[str, Any]:
        """The part that an index of a whole repository needs."""
        called = sorted({call.name for call in self.calls if call.name})
        bases = sorted(
            {
                (name, at)
                for at, one in enumerate(self.scopes)
                for name in map(last, one.bases)
                if name
            }
        )
        return {
            "outlines": [one.row() for one in self.outlines],
            "called": called,
            "bases": bases,
            "error": self.error_line,
        }

    def body(self) -> dict[str, Any]:
        """The part that only resolving calls needs."""
        return {
            "scopes": [one.row() for one in self.scopes],
            "defs": self.defs,
            "calls": [one.row() for one in self.calls],
            "stores": self.stores,
            "old": self.old,
        }


def last(expr: Expr) -> str:
    """The last name of a dotted expression; empty for others."""
    if expr and expr[0] in ("n", "g"):
        return str(expr[1])
    return str(expr[2]) if expr and expr[0] == "a" else ""
