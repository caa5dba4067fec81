"""The state of reading a file's syntax tree: scopes, assignments, calls."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pi_extractors.call_graph.flow import Environment
from pi_extractors.call_graph.summary import CallRow, Expr

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_DEPTH = 40
"""Expressions nested more deeply are read on their own: their calls count, their values do not."""
SKIPPED_TYPES = frozenset({"comment", "line_continuation"})


class NodeReader:
    """Reads one scope after another; what a kind of expression means is in `readers`."""

    def __init__(self, source: bytes, columns: Callable[[int, int], int]) -> None:
        self.source = source
        self.columns = columns
        self.env = Environment()
        self.scope = 0
        self.defs: list[list[Any]] = []
        self.calls: list[CallRow] = []
        self.deferred: list[Node] = []
        self.bound: list[set[str]] = []  # names that are global or nonlocal, by scope
        self.depth = 0
        self.readers: dict[str, Callable[[Node], Expr]] = {}

    def expr(self, node: "Node | None") -> Expr:
        """An expression's value; None when nothing is known of it."""
        if node is None:
            return None
        if self.depth >= MAX_DEPTH:
            self.deferred.append(node)
            return None
        self.depth += 1
        try:
            reader = self.readers.get(node.type)
            return reader(node) if reader else self.rest(node)
        finally:
            self.depth -= 1

    def rest(self, node: "Node") -> Expr:
        """Any other node: its calls."""
        for child in node.named_children:
            self.expr(child)
        return None

    def children(self, node: "Node") -> "list[Node]":
        return [child for child in node.named_children if child.type not in SKIPPED_TYPES]

    def inner(self, node: "Node") -> Expr:
        children = self.children(node)
        value = self.expr(children[0]) if children else None
        for child in children[1:]:
            self.expr(child)
        return value

    def items(self, node: "Node") -> list[Expr]:
        return [self.expr(child) for child in self.children(node)]

    def text(self, node: "Node") -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def name(self, node: "Node") -> Expr:
        name = self.text(node)
        defs = self.env.names.get(name)
        return ["n", name, list(defs)] if defs else ["g", name]

    def bind(self, name: str, value: Expr) -> None:
        """An assignment to a name."""
        self.env.assign(name, (self.define(value),))

    def define(self, value: Expr) -> int:
        self.defs.append([self.scope, value])
        return len(self.defs) - 1

    def add_call(
        self,
        at: "Node",
        name: str,
        kind: int,
        callee: Expr,
        args: list[Expr],
        keywords: list[list[Any]],
    ) -> int:
        row, column = at.start_point
        column = self.columns(row, column)
        self.calls.append(CallRow(self.scope, row + 1, column, name, kind, callee, args, keywords))
        return len(self.calls) - 1

    def open_scope(self, node: "Node", kind: int, decorators: list[int]) -> int:
        """Register a scope whose body is read later."""
        raise NotImplementedError

    def assign(self, target: "Node", value: Expr) -> None:
        """Bind a target of any shape."""
        raise NotImplementedError

    def add_yield(self, value: Expr) -> None:
        raise NotImplementedError

    def narrow(self, condition: "Node", *, negated: bool = False) -> None:
        """Bind a name that `isinstance` tells the class of, in the current branch."""
        while condition.type == "parenthesized_expression" and condition.named_child_count == 1:
            condition = condition.named_children[0]
        if condition.type == "not_operator":
            inner = condition.child_by_field_name("argument")
            if inner is not None:
                self.narrow(inner, negated=not negated)
        elif condition.type == "boolean_operator" and not negated and self.depth < MAX_DEPTH:
            if any(child.type == "and" for child in condition.children):
                self.depth += 1
                for part in condition.named_children:
                    self.narrow(part)
                self.depth -= 1
        elif condition.type == "call" and not negated:
            function = condition.child_by_field_name("function")
            arguments = condition.child_by_field_name("arguments")
            if function is None or arguments is None or self.text(function) != "isinstance":
                return
            parts = self.children(arguments)
            if len(parts) == 2 and parts[0].type == "identifier":
                old = self.name(parts[0])
                recorded = len(self.calls)
                known = self.expr(parts[1])
                if len(self.calls) == recorded:
                    self.bind(self.text(parts[0]), ["is", known, old])
                del self.calls[recorded:]
