"""One file's text to its summary, by tree-sitter; parts that do not parse cost only themselves."""

from functools import cache
from typing import TYPE_CHECKING, Any

from pi_extractors.call_graph.collection import no_collection
from pi_extractors.call_graph.flow import Environment
from pi_extractors.call_graph.literals import first_line
from pi_extractors.call_graph.statements import StatementReader
from pi_extractors.call_graph.summary import (
    CLASS,
    DECORATOR,
    FUNCTION,
    LAMBDA,
    MODULE,
    Expr,
    Outline,
    Scope,
    Summary,
)

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

LONGEST_SIGNATURE = 240
PROPERTY_PARTS = frozenset({"setter", "deleter", "getter"})


def summarise(text: str) -> Summary:
    """Read a file's text."""
    source = text.encode("utf-8", "replace")
    with no_collection():
        tree = _parser().parse(source)
        return _FileReader(source, text).read(tree.root_node)


@cache
def _parser() -> "Parser":
    import tree_sitter_python
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_python.language()))


class _FileReader(StatementReader):
    def __init__(self, source: bytes, text: str) -> None:
        self.lines = None if text.isascii() else source.split(b"\n")
        super().__init__(source, self.code_points)
        self.outlines: list[Outline] = []
        self.scopes: list[Scope] = []
        self.queue: list[tuple[int, Node]] = []
        self.lambdas: list[int] = []
        self.stores: list[list[object]] = []
        self.weak: list[tuple[int, str, int]] = []
        self.binders: list[tuple[int, str, int]] = []

    def code_points(self, row: int, column: int) -> int:
        if self.lines is None:
            return column
        return len(self.lines[row][:column].decode("utf-8", "replace"))

    def read(self, root: "Node") -> Summary:
        self.open_scope(root, MODULE, [])
        for at, node in self.queue:  # grows while it is read
            self.read_scope(at, node)
        self.attach_weak()
        for scope in self.scopes:
            scope.depends = self.dependencies(scope)
        error = _first_error(root)
        stores: list[list[Any]] = self.stores
        return Summary(self.outlines, self.scopes, self.defs, self.calls, stores, error, self.old)

    def open_scope(self, node: "Node", kind: int, decorators: list[int]) -> int:
        name_node = node.child_by_field_name("name")
        if kind == LAMBDA:
            self.lambdas[self.scope] += 1
            name = f"<lambda{self.lambdas[self.scope]}>"
        else:
            name = self.text(name_node) if name_node is not None else ""
        line = 1 if kind == MODULE else (name_node or node).start_point[0] + 1
        params = self.parameters(node.child_by_field_name("parameters"))
        bases, metaclass = self.superclasses(node.child_by_field_name("superclasses"))
        result = self.annotation(node.child_by_field_name("return_type"))
        outline = Outline(
            kind, name, self.scope if self.scopes else -1, line, node.end_point[0] + 1,
            self.signature(node), self.docstring(node),
        )  # fmt: skip
        self.outlines.append(outline)
        self.scopes.append(
            Scope(params, {}, [], [], result, decorators, bases, metaclass, [], [], {})
        )
        self.lambdas.append(0)
        self.bound.append(set())
        self.queue.append((len(self.scopes) - 1, node))
        return len(self.scopes) - 1

    def read_scope(self, at: int, node: "Node") -> None:
        kind, scope = self.outlines[at].kind, self.scopes[at]
        self.scope, self.env, self.deferred = at, Environment(), []
        self.returns, self.yields, self.stars = scope.returns, scope.yields, scope.stars
        first = len(self.defs)
        names: list[str] = []
        for index, param in enumerate(scope.params):
            self.bind(param[0], ["p", index])
            names.append(param[0])
        body = node if kind == MODULE else node.child_by_field_name("body")
        if kind == LAMBDA:
            self.returns.append(self.expr(body))
        else:
            self.block(body)
        while self.deferred:
            self.statement(self.deferred.pop())
        if kind in (FUNCTION, LAMBDA):
            scope.names = self.all_names(first)
        else:
            scope.names = {name: list(defs) for name, defs in self.env.names.items()}

    def bind(self, name: str, value: Expr) -> None:
        super().bind(name, value)
        self.binders.append((self.scope, name, len(self.defs) - 1))

    def all_names(self, first: int) -> dict[str, list[int]]:
        names: dict[str, list[int]] = {}
        for scope, name, made in self.binders:
            if scope == self.scope and made >= first and name not in self.bound[scope]:
                names.setdefault(name, []).append(made)
        self.binders.clear()
        return names

    def attach_weak(self) -> None:
        """Assignments made in inner scopes count for the scope that has the name."""
        for scope, name, made in self.weak:
            at = self.outlines[scope].parent
            while at > 0 and (self.outlines[at].kind == CLASS or name not in self.scopes[at].names):
                at = self.outlines[at].parent
            target = self.scopes[max(at, 0)]
            if name in target.names or name in self.bound[scope]:
                target.weak.setdefault(name, []).append(made)

    def dependencies(self, scope: Scope) -> list[int]:
        """The parameters that what a function returns depends on, directly or through locals."""
        found: set[int] = set()
        seen: set[tuple[str, int]] = set()
        todo: list[Any] = [*scope.returns, *scope.yields]
        while todo:
            expr = todo.pop()
            if not isinstance(expr, list) or not expr:
                continue
            tag = expr[0]
            if tag == "p":
                found.add(expr[1])
            elif tag == "f":
                found.update(range(len(scope.params)))
            elif tag == "n":
                for one in expr[2]:
                    if ("n", one) not in seen:
                        seen.add(("n", one))
                        todo.append(self.defs[one][1])
            elif tag == "c":
                if ("c", expr[1]) not in seen:
                    seen.add(("c", expr[1]))
                    call = self.calls[expr[1]]
                    todo.extend([call.callee, *call.args, *(value for _, value in call.keywords)])
            else:
                todo.extend(expr)
        return sorted(found)

    def do_decorated_definition(self, node: "Node") -> None:
        definition = node.child_by_field_name("definition")
        decorators = [child for child in node.named_children if child.type == "decorator"]
        values = [(child, self.inner(child)) for child in decorators]
        if definition is None:
            return
        at, made = len(self.calls), []
        for child, value in values:
            place = self.children(child)[0] if self.children(child) else child
            last = place
            while last.type in ("call", "attribute") and last.named_children:
                part = "function" if last.type == "call" else "attribute"
                last = last.child_by_field_name(part) or last.named_children[0]
            place = child if place.type == "call" else last  # a call has a site of its own
            made.append(self.add_call(place, self.text(last), DECORATOR, value, [], []))
        scope = self.definition(definition, made)
        result: Expr = ["f", scope]
        for index in reversed(range(at, at + len(made))):
            self.calls[index].args.append(result)
            result = ["c", index]
        name = self.outlines[scope].name
        first = values[0][1] if values else None
        if not (first and first[0] == "a" and first[2] in PROPERTY_PARTS):
            self.bind(name, ["df", scope, result])

    def definition(self, node: "Node", decorators: list[int]) -> int:
        kind = CLASS if node.type == "class_definition" else FUNCTION
        return self.open_scope(node, kind, decorators)

    def do_function_definition(self, node: "Node") -> None:
        scope = self.definition(node, [])
        self.bind(self.outlines[scope].name, ["f", scope])

    do_class_definition = do_function_definition

    def parameters(self, node: "Node | None") -> list[list[Any]]:
        if node is None:
            return []
        rows: list[list[Any]] = []
        keyword_only = False
        for child in self.children(node):
            kind = child.type
            if kind in ("keyword_separator", "positional_separator"):
                keyword_only = keyword_only or kind == "keyword_separator"
                continue
            value = self.expr(child.child_by_field_name("value"))
            hint = self.annotation(child.child_by_field_name("type"))
            name = child.child_by_field_name("name") or child
            if kind == "typed_parameter":
                name = child.named_children[0]
            star = ""
            if name.type in ("list_splat_pattern", "dictionary_splat_pattern"):
                star = "*" if name.type == "list_splat_pattern" else "**"
                name = name.named_children[0] if name.named_children else name
            label = self.text(name) if name.type == "identifier" else ""
            rows.append([label, star or ("kw" if keyword_only else ""), value, hint])
            keyword_only = keyword_only or star == "*"
        return rows

    def superclasses(self, node: "Node | None") -> tuple[list[Expr], Expr]:
        bases: list[Expr] = []
        metaclass: Expr = None
        for child in self.children(node) if node is not None else []:
            value = self.expr(child)
            if child.type != "keyword_argument":
                bases.append(value)
            elif self.text(child).startswith("metaclass"):
                metaclass = value
        return bases, metaclass

    def signature(self, node: "Node") -> str:
        part = node.child_by_field_name("parameters") or node.child_by_field_name("superclasses")
        text = " ".join(self.text(part).split()) if part is not None else ""
        if node.type == "lambda":
            text = f"({text})"
        if result := node.child_by_field_name("return_type"):
            text += f" -> {' '.join(self.text(result).split())}"
        cut = text[: LONGEST_SIGNATURE - 1] + "…"
        return text if len(text) <= LONGEST_SIGNATURE else cut

    def docstring(self, node: "Node") -> str:
        body = node.child_by_field_name("body") or (node if node.type == "module" else None)
        for child in self.children(body)[:1] if body is not None else []:
            if child.type == "expression_statement" and child.named_child_count:
                literal = child.named_children[0]
                if literal.type == "string":
                    return first_line(self.text(literal))
        return ""


def _first_error(root: "Node") -> int:
    """The line of the first part that did not parse; 0 when all did."""
    if not root.has_error:
        return 0
    node = root
    while not (node.is_error or node.is_missing):
        inner = next((child for child in node.children if child.has_error), None)
        if inner is None:
            break
        node = inner
    return node.start_point[0] + 1
