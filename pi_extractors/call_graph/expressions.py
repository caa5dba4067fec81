"""Expressions of a syntax tree as the tagged lists that `summary` documents."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pi_extractors.call_graph.literals import number, string
from pi_extractors.call_graph.nodes import SKIPPED_TYPES, NodeReader
from pi_extractors.call_graph.summary import CALL, CALLBACK, ITERATION, LAMBDA, Expr

if TYPE_CHECKING:
    from tree_sitter import Node

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


class ExpressionReader(NodeReader):
    """Reads expressions; `scopes` of the file are made elsewhere."""

    def __init__(self, source: bytes, columns: Callable[[int, int], int]) -> None:
        super().__init__(source, columns)
        self.readers = {
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

    def walrus(self, node: "Node") -> Expr:
        value = self.expr(node.child_by_field_name("value"))
        target = node.child_by_field_name("name")
        if target is not None:
            self.bind(self.text(target), value)
        return value

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

    def yield_(self, node: "Node") -> Expr:
        children = self.children(node)
        value = self.expr(children[0]) if children else None
        if any(child.type == "from" for child in node.children):
            value = ["i", value]
        self.add_yield(value)
        return None

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
        place = function
        if function.type == "identifier":
            name = self.text(function)
        elif function.type == "attribute" and self.children(function)[1:]:
            place = self.children(function)[-1]
            name = self.text(place)
        elif arguments is not None:
            place = arguments
        if name in HIGHER_ORDER and arguments is not None:
            self.add_callbacks(arguments, callee)
        return ["c", self.add_call(place, name, CALL, callee, args, keywords)]

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
