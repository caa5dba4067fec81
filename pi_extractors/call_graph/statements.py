"""Statements: which assignments reach what, and what the body of a definition does."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pi_extractors.call_graph.assignments import PATTERNS, AssignmentReader
from pi_extractors.call_graph.flow import Defs
from pi_extractors.call_graph.nodes import MAX_DEPTH
from pi_extractors.call_graph.summary import RAISE, Expr

if TYPE_CHECKING:
    from tree_sitter import Node

OLD_STATEMENTS = frozenset({"print_statement", "exec_statement"})
LOOP_NAMES = frozenset({"identifier", *PATTERNS, "attribute", "subscript", "as_pattern_target"})


class StatementReader(AssignmentReader):
    """Reads the statements of one scope in order."""

    old = False
    returns: list[Expr]
    yields: list[Expr]
    stars: list[list[Any]]

    def block(self, node: "Node | None") -> None:
        """The statements of a block, a module, or a part that did not parse."""
        if node is None:
            return
        if self.depth >= MAX_DEPTH:
            self.deferred.append(node)
            return
        self.depth += 1
        for child in node.named_children:
            self.statement(child)
        self.depth -= 1

    def statement(self, node: "Node") -> None:
        kind = node.type
        reader = getattr(self, "do_" + kind, None)
        if reader is not None:
            reader(node)
        elif kind in ("ERROR", "block", "module", "else_clause", "finally_clause"):
            self.block(node)
        elif kind != "comment":
            self.old = self.old or kind in OLD_STATEMENTS
            self.expr(node)

    def do_expression_statement(self, node: "Node") -> None:
        for child in self.children(node):
            if child.type == "assignment":
                self.assignment(child)
            elif child.type == "augmented_assignment":
                self.augmented(child)
            else:
                value = self.expr(child)
                if child.type == "call":
                    self.mutation(child, value)

    def assignment(self, node: "Node") -> None:
        targets = []
        kinds: list[Node | None] = []
        at: Node | None = node
        while at is not None and at.type == "assignment":
            targets.append(at.child_by_field_name("left"))
            kinds.append(at.child_by_field_name("type"))
            at = at.child_by_field_name("right")
        if at is not None and at.type == "augmented_assignment":
            self.augmented(at)
            at = at.child_by_field_name("left")
        value = self.expr(at)
        for kind in kinds:
            if kind is not None:
                value = ["an", self.annotation(kind), value]
        if len(targets) > 1:
            value = ["n", "", [self.define(value)]]
        for target in targets:
            if target is not None:
                self.assign(target, value)

    def augmented(self, node: "Node") -> None:
        left = node.child_by_field_name("left")
        value = self.expr(node.child_by_field_name("right"))
        if left is None:
            return
        if left.type == "identifier" and self.text(left) in self.env.names:
            self.bind(self.text(left), ["up", self.name(left), value])
        elif left.type in ("identifier", "attribute"):
            self.change(left, ["up", value])
        else:
            self.expr(left)

    def do_return_statement(self, node: "Node") -> None:
        children = self.children(node)
        if children:
            self.returns.append(self.expr(children[0]))
        self.env.dead = True

    def add_yield(self, value: Expr) -> None:
        self.yields.append(value)

    def do_raise_statement(self, node: "Node") -> None:
        children = self.children(node)
        if children and children[0].type == "expression_list":
            self.old = True
            children = self.children(children[0]) + children[1:]
        for at, child in enumerate(children):
            value = self.expr(child)
            if at == 0 and child.type in ("identifier", "attribute"):
                place = self.children(child)[-1] if child.type == "attribute" else child
                self.add_call(place, self.text(place), RAISE, value, [], [])
        self.env.dead = True

    def do_assert_statement(self, node: "Node") -> None:
        self.rest(node)
        for child in self.children(node)[:1]:
            self.narrow(child)

    def do_global_statement(self, node: "Node") -> None:
        for child in node.named_children:
            self.bound[self.scope].add(self.text(child))

    do_nonlocal_statement = do_global_statement

    def do_delete_statement(self, node: "Node") -> None:
        for child in self.children(node):
            for target in self.children(child) if child.type == "expression_list" else [child]:
                if target.type == "identifier":
                    self.env.assign(self.text(target), ())
                else:
                    self.expr(target)

    def do_if_statement(self, node: "Node") -> None:
        branches: list[tuple[dict[str, Defs], bool]] = []
        open_conditions: list[Node] = []
        exhaustive = False
        for part in [node, *node.children_by_field_name("alternative")]:
            condition = part.child_by_field_name("condition")
            if condition is not None:
                self.expr(condition)
            self.env.push()
            for before in open_conditions:
                self.narrow(before, negated=True)
            if condition is not None:
                self.narrow(condition)
                if condition.type in ("not_operator", "parenthesized_expression"):
                    open_conditions.append(condition)
            body = "consequence" if condition is not None else "body"
            self.block(part.child_by_field_name(body))
            branches.append(self.env.pop())
            exhaustive = condition is None
        if not exhaustive:
            self.env.push()
            for before in open_conditions:
                self.narrow(before, negated=True)
            branches.append(self.env.pop())
        self.env.merge(branches)

    def loop(self, node: "Node") -> None:
        """Assignments in the body reach its beginning: each name that it assigns gets a join."""
        body = node.child_by_field_name("body")
        joins: dict[str, tuple[int, Defs]] = {}
        for name in assigned_names(self, node):
            if name in self.env.names:
                before = self.env.names[name]
                joins[name] = (self.define(["n", name, list(before)]), before)
                self.env.assign(name, (joins[name][0],))
        self.env.push()
        if node.type == "for_statement":
            self.iterate(node)
        else:
            condition = node.child_by_field_name("condition")
            self.expr(condition)
            if condition is not None:
                self.narrow(condition)
        self.block(body)
        changed, _ = self.env.pop()
        for name, defs in changed.items():
            join, before = joins.get(name, (None, ()))
            if join is None:
                self.env.assign(name, tuple(dict.fromkeys((*self.env.names.get(name, ()), *defs))))
                continue
            reaching = [*before, *(one for one in defs if one not in before and one != join)]
            self.defs[join][1] = ["n", name, reaching]
        for alternative in node.children_by_field_name("alternative"):
            self.block(alternative)

    do_for_statement = loop
    do_while_statement = loop

    def do_try_statement(self, node: "Node") -> None:
        self.env.push()
        self.block(node.child_by_field_name("body"))
        tried = self.env.pop()
        after = []
        completed = False
        for part in self.children(node):
            if part.type in ("except_clause", "except_group_clause"):
                self.env.push()
                self.env.merge([(tried[0], False), ({}, False)])
                self.handler(part)
                after.append(self.env.pop())
            elif part.type == "else_clause":
                self.env.push()
                self.env.merge([(tried[0], False)])
                self.env.dead = tried[1]
                self.block(part)
                after.append(self.env.pop())
                completed = True
        self.env.merge(after if completed else [tried, *after])
        for part in self.children(node):
            if part.type == "finally_clause":
                self.block(part)

    def handler(self, node: "Node") -> None:
        for part in self.children(node):
            if part.type == "block":
                self.block(part)
            elif part.type == "as_pattern":
                caught, *target = self.children(part)
                value = self.expr(caught)
                if target:
                    self.assign(target[0], ["e", value])
            elif part.type in ("expression_list", "tuple") and "," in self.text(part):
                self.expr(part)
            else:
                self.expr(part)

    def do_with_statement(self, node: "Node") -> None:
        for item in clauses(node, "with_item"):
            value = item.child_by_field_name("value")
            if value is not None and value.type == "as_pattern":
                context, *target = self.children(value)
                entered = self.expr(context)
                if target:
                    self.assign(target[0], ["w", entered])
            else:
                self.expr(value)
        self.block(node.child_by_field_name("body"))

    def do_match_statement(self, node: "Node") -> None:
        self.expr(node.child_by_field_name("subject"))
        branches: list[tuple[dict[str, Defs], bool]] = [({}, False)]
        for case in clauses(node, "case_clause"):
            self.env.push()
            guard = case.child_by_field_name("guard")
            if guard is not None:
                self.rest(guard)
            self.block(case.child_by_field_name("consequence"))
            branches.append(self.env.pop())
        self.env.merge(branches)

    def do_import_statement(self, node: "Node") -> None:
        for child in node.children_by_field_name("name"):
            if child.type == "aliased_import":
                name, alias = self.children(child)
                self.bind(self.text(alias), ["m", self.dotted(name), 0])
            else:
                dotted = self.dotted(child)
                self.bind(dotted.partition(".")[0], ["mt", dotted])

    def do_import_from_statement(self, node: "Node") -> None:
        source = node.child_by_field_name("module_name")
        if source is None:
            return
        text = self.dotted(source)
        module = text.lstrip(".")
        level = len(text) - len(module)
        for child in node.children_by_field_name("name"):
            parts = self.children(child) if child.type == "aliased_import" else [child, child]
            self.bind(self.text(parts[-1]), ["mf", module, level, self.dotted(parts[0])])
        if any(child.type == "wildcard_import" for child in node.named_children):
            self.stars.append([module, level])

    def dotted(self, node: "Node") -> str:
        return "".join(self.text(node).split())


def clauses(node: "Node", kind: str) -> "Iterator[Node]":
    """The parts of a compound statement, wherever the grammar puts them."""
    for child in node.named_children:
        if child.type == kind:
            yield child
        elif child.type in ("with_clause", "block"):
            yield from (one for one in child.named_children if one.type == kind)


def assigned_names(reader: AssignmentReader, loop: "Node") -> list[str]:
    """The names that a loop's body may assign or whose container it may change, in order."""
    found: dict[str, None] = {}
    todo = [loop]
    while todo:
        node = todo.pop()
        if node.type in ("function_definition", "class_definition"):
            targets = [node.child_by_field_name("name")]
        elif node.type in ("assignment", "augmented_assignment", "for_statement"):
            targets = [node.child_by_field_name("left")]
            todo.extend(node.named_children)
        elif node.type in ("named_expression", "as_pattern_target", "aliased_import"):
            targets = [node.named_children[0] if node.named_children else None]
            todo.extend(node.named_children)
        elif node.type == "call":
            targets = [node.child_by_field_name("function")]
            targets = targets if targets[0] and targets[0].type == "attribute" else []
            todo.extend(node.named_children)
        else:
            targets = []
            todo.extend(node.named_children)
        while targets:
            target = targets.pop()
            if target is None:
                continue
            if target.type == "identifier":
                found[reader.text(target)] = None
            elif target.type in ("attribute", "subscript"):
                targets.extend(target.named_children[:1])
            elif target.type in LOOP_NAMES or target.type.startswith("list_splat"):
                targets.extend(target.named_children)
    return sorted(found)
