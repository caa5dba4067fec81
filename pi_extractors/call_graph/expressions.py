"""Expressions of a syntax tree as the tagged lists that `summary` documents."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pi_extractors.call_graph.flow import Environment
from pi_extractors.call_graph.literals import number, string
from pi_extractors.call_graph.summary import CALL, CALLBACK, ITERATION, LAMBDA, CallRow, Expr

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_DEPTH = 40
"""Expressions nested more deeply are read on their own: their calls count, their values do not."""
LONGEST_CHAIN = 20
"""Operators of a chain whose values are followed."""

DUNDERS = {
    "+": "__add__",
    "-": "__sub__",
    "*": "__mul__",
    "/": "__truediv__",
    "//": "__floordiv__",
    "%": "__mod__",
    "**": "__pow__",
    "@": "__matmul__",
    "&": "__and__",
    "|": "__or__",
    "^": "__xor__",
    "<<": "__lshift__",
    ">>": "__rshift__",
}
UNARY = {"-": "__neg__", "+": "__pos__", "~": "__invert__"}
HIGHER_ORDER = frozenset({"map", "filter", "sorted", "min", "max", "reduce"})
SKIPPED_TYPES = frozenset({"comment", "line_continuation"})


class ExpressionReader:
    """Reads the expressions of one scope after another; `scopes` of the file are made elsewhere."""

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
        self.readers: dict[str, Callable[[Node], Expr]] = {
            "identifier": self.name,
            "attribute": self.attribute,
            "call": self.call,
            "string": self.string,
            "concatenated_string": self.joined_string,
            "integer": self.number,
            "float": self.number,
            "true": lambda node: ["k", True],
            "false": lambda node: ["k", False],
            "none": lambda node: ["k", None],
            "parenthesized_expression": self.inner,
            "type": self.inner,
            "interpolation": self.inner,
            "list": lambda node: ["l", self.items(node)],
            "set": lambda node: ["l", self.items(node)],
            "tuple": lambda node: ["t", self.items(node)],
            "expression_list": lambda node: ["t", self.items(node)],
            "dictionary": self.dictionary,
            "subscript": self.subscript,
            "conditional_expression": self.conditional,
            "boolean_operator": self.operator,
            "binary_operator": self.operator,
            "comparison_operator": self.comparison,
            "not_operator": self.comparison,
            "unary_operator": self.unary,
            "lambda": self.lambda_,
            "named_expression": self.walrus,
            "await": self.inner,
            "list_comprehension": lambda node: self.comprehension(node, "l"),
            "set_comprehension": lambda node: self.comprehension(node, "l"),
            "generator_expression": lambda node: self.comprehension(node, "l"),
            "dictionary_comprehension": lambda node: self.comprehension(node, "d"),
            "list_splat": lambda node: ["*", self.inner(node)],
            "yield": self.yield_,
            "keyword_argument": lambda node: self.expr(node.child_by_field_name("value")),
        }

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

    def attribute(self, node: "Node") -> Expr:
        children = self.children(node)
        if len(children) < 2:
            return self.rest(node)
        return ["a", self.expr(children[0]), self.text(children[-1])]

    def string(self, node: "Node") -> Expr:
        for child in node.named_children:
            if child.type == "interpolation":
                self.rest(child)
        value = string(self.text(node))
        return ["b", "str"] if value is None else ["k", value]

    def joined_string(self, node: "Node") -> Expr:
        self.items(node)
        return ["b", "str"]

    def number(self, node: "Node") -> Expr:
        value = number(self.text(node))
        return ["b", "int"] if value is None else ["k", value]

    def dictionary(self, node: "Node") -> Expr:
        pairs: list[list[Expr]] = []
        for child in self.children(node):
            if child.type == "pair":
                key = self.expr(child.child_by_field_name("key"))
                pairs.append([key, self.expr(child.child_by_field_name("value"))])
            else:
                pairs.append([None, self.inner(child)])
        return ["d", pairs]

    def subscript(self, node: "Node") -> Expr:
        children = self.children(node)
        base = self.expr(children[0])
        if len(children) == 2 and children[1].type == "slice":
            parts = [self.expr(child) for child in self.children(children[1])]
            return ["sl", base, *self.bounds(children[1], parts)]
        indexes = [self.expr(child) for child in children[1:]]
        return ["s", base, indexes[0] if len(indexes) == 1 else ["t", indexes]]

    def bounds(self, node: "Node", parts: list[Expr]) -> list[int | None]:
        """The constant bounds of a slice; both None unless each is a constant."""
        found: list[int | None] = [None, None]
        at = used = 0
        for child in node.children:
            if child.type == ":":
                at += 1
            elif child.is_named and child.type not in SKIPPED_TYPES:
                part = parts[used] if used < len(parts) else None
                used += 1
                if at > 1 or not part or part[0] != "k" or type(part[1]) is not int:
                    return [None, None]
                found[at] = part[1]
        return found

    def conditional(self, node: "Node") -> Expr:
        children = self.children(node)
        if len(children) != 3:
            return self.rest(node)
        self.expr(children[1])
        self.env.push()
        self.narrow(children[1])
        then = self.expr(children[0])
        self.env.pop()
        return ["o", [then, self.expr(children[2])]]

    def operator(self, node: "Node") -> Expr:
        """Chains of operators lean to the left and may be thousands long: read in a loop."""
        chain = []
        while node.type in ("binary_operator", "boolean_operator"):
            chain.append(node)
            left = node.child_by_field_name("left")
            if left is None:
                break
            node = left
        skipped = set(chain[:-LONGEST_CHAIN])
        pushed = 0
        value = self.expr(node)
        previous = node
        for at in reversed(chain):
            operator = at.child_by_field_name("operator")
            if operator is not None and operator.type == "and":
                self.env.push()
                pushed += 1
                self.narrow(previous)
            right = self.expr(at.child_by_field_name("right"))
            previous = at.child_by_field_name("right") or at
            if at in skipped:
                continue
            if at.type == "boolean_operator":
                value = ["o", [value, right]]
            else:
                value = ["op", value, right, DUNDERS.get(operator.type if operator else "", "")]
        for _ in range(pushed):
            self.env.pop()
        return value

    def comparison(self, node: "Node") -> Expr:
        self.rest(node)
        return ["b", "bool"]

    def unary(self, node: "Node") -> Expr:
        value = self.inner(node)
        if value and value[0] == "k" and type(value[1]) is int and node.children[0].type == "-":
            return ["k", -value[1]]
        return ["op", value, None, UNARY.get(node.children[0].type, "")]

    def lambda_(self, node: "Node") -> Expr:
        return ["f", self.open_scope(node, LAMBDA, [])]

    def open_scope(self, node: "Node", kind: int, decorators: list[int]) -> int:
        """Register a scope whose body is read later."""
        raise NotImplementedError

    def walrus(self, node: "Node") -> Expr:
        value = self.expr(node.child_by_field_name("value"))
        target = node.child_by_field_name("name")
        if target is not None:
            self.bind(self.text(target), value)
        return value

    def bind(self, name: str, value: Expr) -> None:
        """An assignment to a name."""
        self.env.assign(name, (self.define(value),))

    def define(self, value: Expr) -> int:
        self.defs.append([self.scope, value])
        return len(self.defs) - 1

    def comprehension(self, node: "Node", kind: str) -> Expr:
        self.env.push()
        children = self.children(node)
        for child in children[1:]:
            if child.type == "for_in_clause":
                self.iterate(child)
            else:
                self.rest(child)
                for condition in self.children(child):
                    self.narrow(condition)
        body = children[0] if children else None
        value: Expr
        if kind == "d" and body is not None and body.type == "pair":
            key = self.expr(body.child_by_field_name("key"))
            value = ["d", [[["o", [key, None]], self.expr(body.child_by_field_name("value"))]]]
        else:
            value = ["l", [["*", ["l", [self.expr(body)]]]]]
        self.env.pop()
        return value

    def iterate(self, node: "Node") -> None:
        """`for left in right`: binds the left side."""
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        value = self.expr(right)
        if right is not None:
            self.add_call(right, "", ITERATION, value, [], [])
        if left is not None:
            self.assign(left, ["i", value])

    def assign(self, target: "Node", value: Expr) -> None:
        """Bind a target of any shape."""
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

    def yield_(self, node: "Node") -> Expr:
        children = self.children(node)
        value = self.expr(children[0]) if children else None
        if any(child.type == "from" for child in node.children):
            value = ["i", value]
        self.add_yield(value)
        return None

    def add_yield(self, value: Expr) -> None:
        raise NotImplementedError

    def call(self, node: "Node") -> Expr:
        function = node.child_by_field_name("function")
        arguments = node.child_by_field_name("arguments")
        if function is None:
            return self.rest(node)
        callee = self.expr(function)
        args: list[Expr] = []
        keywords: list[list[Any]] = []
        if arguments is not None and arguments.type == "generator_expression":
            args.append(self.expr(arguments))
        elif arguments is not None:
            for child in self.children(arguments):
                if child.type == "keyword_argument":
                    key = child.child_by_field_name("name")
                    keywords.append([self.text(key) if key else "", self.expr(child)])
                elif child.type == "dictionary_splat":
                    keywords.append([None, self.inner(child)])
                else:
                    args.append(self.expr(child))
        while function.type == "parenthesized_expression" and function.named_child_count == 1:
            function = function.named_children[0]
        name = ""
        if function.type == "identifier":
            name = self.text(function)
        elif function.type == "attribute" and self.children(function)[1:]:
            function = self.children(function)[-1]
            name = self.text(function)
        if name in HIGHER_ORDER and arguments is not None:
            self.add_callbacks(arguments, callee)
        return ["c", self.add_call(function, name, CALL, callee, args, keywords)]

    def add_callbacks(self, arguments: "Node", callee: Expr) -> None:
        """Functions handed to a built-in that runs them: a site at the argument."""
        for child in self.children(arguments):
            at = child
            if child.type == "keyword_argument":
                at = child.child_by_field_name("value") or child
            if at.type in ("identifier", "attribute"):
                place = self.children(at)[-1] if at.type == "attribute" else at
                value = self.expr(at)
                self.add_call(place, self.text(place), CALLBACK, value, [], [["", callee]])

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
