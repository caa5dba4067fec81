"""Assignments: names, attributes, items, unpacking, and methods that change a container."""

import re
from typing import TYPE_CHECKING

from pi_extractors.call_graph.expressions import ExpressionReader
from pi_extractors.call_graph.summary import Expr

if TYPE_CHECKING:
    from tree_sitter import Node

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
ADDING = frozenset({"append", "add", "appendleft", "insert", "setdefault"})
EXTENDING = frozenset({"extend", "update"})
PATTERNS = frozenset({"pattern_list", "tuple_pattern", "list_pattern", "tuple", "list"})
SPLATS = frozenset({"list_splat_pattern", "list_splat"})


class AssignmentReader(ExpressionReader):
    """Reads targets. `weak`: scope, name, assignment made from an inner scope."""

    stores: list[list[object]]
    weak: list[tuple[int, str, int]]

    def bind(self, name: str, value: Expr) -> None:
        made = self.define(value)
        self.env.assign(name, (made,))
        if name in self.bound[self.scope]:
            self.weak.append((self.scope, name, made))

    def assign(self, target: "Node", value: Expr) -> None:
        kind = target.type
        if kind == "identifier":
            self.bind(self.text(target), value)
        elif kind == "attribute":
            read = self.expr(target)
            if read and read[0] == "a" and read[2] == "__class__" and read[1] and read[1][0] == "n":
                self.bind(read[1][1], ["e", value])
            elif read:
                self.stores.append([self.scope, read[1], read[2], value])
        elif kind == "subscript":
            self.store(target, value)
        elif kind in PATTERNS:
            self.unpack(target, value)
        elif target.named_child_count:
            self.assign(target.named_children[0], value)

    def unpack(self, target: "Node", value: Expr) -> None:
        if self.depth > 20:
            return
        self.depth += 1
        parts = self.children(target)
        whole: Expr = ["n", "", [self.define(value)]]
        starred = next((at for at, part in enumerate(parts) if part.type in SPLATS), None)
        for at, part in enumerate(parts):
            if starred is None or at < starred:
                self.assign(part, ["u", whole, at])
            elif at == starred:
                self.assign(part, ["ur", whole, at, len(parts) - at - 1])
            else:
                self.assign(part, ["u", whole, at - len(parts)])
        self.depth -= 1

    def store(self, target: "Node", value: Expr) -> None:
        """`base[key] = value`."""
        children = self.children(target)
        base, keys = children[0], [self.expr(child) for child in children[1:]]
        key = keys[0] if len(keys) == 1 and children[1].type != "slice" else None
        self.change(base, ["st", key or ["b", "object"], value])

    def change(self, base: "Node", effect: list[object]) -> None:
        """Give a container another content: `effect` without its base, as `st key value`."""
        tag, *rest = effect
        if base.type == "identifier":
            name = self.text(base)
            if name in self.env.names:
                self.bind(name, [tag, self.name(base), *rest])
            else:
                self.weak.append((self.scope, name, self.define(content(effect))))
        elif base.type == "subscript" and self.depth < 20:
            self.depth += 1
            calls = len(self.calls)
            old = self.expr(base)
            if len(self.calls) == calls:
                self.store(base, [tag, old, *rest])
            self.depth -= 1
        elif base.type == "attribute":
            self.assign(base, content(effect))
        else:
            self.expr(base)

    def mutation(self, node: "Node", value: Expr) -> None:
        """A statement `base.append(item)` or its like, whose value was read already."""
        function = node.child_by_field_name("function")
        if not value or value[0] != "c" or function is None or function.type != "attribute":
            return
        row = self.calls[value[1]]
        if not row.args or row.name not in ADDING | EXTENDING:
            return
        base = self.children(function)[0]
        if base.type not in ("identifier", "attribute"):
            return
        calls = len(self.calls)
        if row.name in EXTENDING:
            self.change(base, ["up", row.args[0]])
        elif row.name == "setdefault" and len(row.args) > 1:
            self.change(base, ["st", row.args[0] or ["b", "object"], row.args[1]])
        else:
            self.change(base, ["st", None, row.args[-1]])
        del self.calls[calls:]

    def annotation(self, node: "Node | None") -> Expr:
        """A type, with quoted names read as names."""
        if node is None:
            return None
        while node.type == "type" and node.named_child_count:
            node = node.named_children[0]
        value = self.expr(node)
        if value and value[0] == "k" and isinstance(value[1], str):
            return self.quoted(value[1])
        return value

    def quoted(self, text: str) -> Expr:
        """A type in quotes: a dotted name, perhaps optional, or the arguments of a subscript."""
        text = text.strip()
        for wrapper in ("Optional[", "typing.Optional[", "t.Optional["):
            if text.startswith(wrapper) and text.endswith("]"):
                return self.quoted(text[len(wrapper) : -1])
        if "|" in text and "[" not in text:
            return ["o", [self.quoted(part) for part in text.split("|")]]
        if not DOTTED.fullmatch(text):
            return None
        first, *others = text.split(".")
        defs = self.env.names.get(first)
        value: Expr = ["n", first, list(defs)] if defs else ["g", first]
        for name in others:
            value = ["a", value, name]
        return value


def content(effect: list[object]) -> Expr:
    """A container that has only what a change puts into it."""
    if effect[0] == "up":
        return ["l", [["*", effect[1]]]] if effect[1] else None
    key, value = effect[1:]
    return ["d", [[key, value]]] if key else ["l", [value]]
