"""Names that a scope does not bind itself: of scopes around it, of star imports, of modules."""

from typing import Any

from pi_extractors.call_graph.core import Core
from pi_extractors.call_graph.summary import CLASS
from pi_extractors.call_graph.values import (
    Box,
    Const,
    External,
    Frame,
    Module,
    Value,
    Values,
    distinct,
)

MAX_ITEMS = 60
"""Containers that are written out at greater length are tables of data."""


class Names(Core):
    """Free names and imports."""

    def free_name(self, expr: list[Any], frame: Frame) -> Values:
        """A name of an enclosing function, of the module, of a star import, or a built-in one."""
        name = expr[1]
        file = self.file(frame.path)
        scope = file.outlines[frame.scope].parent
        outer = frame.outer
        while scope > 0:
            if outer is not None and outer.scope != scope:
                outer = None
            if file.outlines[scope].kind != CLASS and name in file.scopes[scope].names:
                return self.bound_name(name, outer or Frame(frame.path, scope))
            scope = file.outlines[scope].parent
            outer = outer.outer if outer is not None else None
        if name in file.scopes[0].names or name in file.scopes[0].weak:
            return self.bound_name(name, Frame(frame.path, 0))
        return self.starred_name(frame.path, name) or (External(f"builtins.{name}"),)

    def starred_name(self, path: str, name: str) -> Values:
        """A name that a star import brings."""
        stars = self.file(path).scopes[0].stars
        if not stars or name.startswith("__"):
            return ()
        return self.memo(("*", path, name), lambda: self._from_stars(stars, path, name))

    def _from_stars(self, stars: list[list[Any]], path: str, name: str) -> Values:
        for module, level in reversed(stars):
            for source in self.imports.module(module, level, path):
                if isinstance(source, Module) and self.exports(source.path, name):
                    found = self.module_name(source.path, name)
                    if found:
                        return found
        return ()

    def exports(self, path: str, name: str) -> bool:
        """Whether `import *` of a file brings a name."""
        names = self.file(path).scopes[0].names
        if "__all__" not in names:
            return not name.startswith("_")
        listed = self.bound_name("__all__", Frame(path, 0))
        found = self.each(listed, self.elements)
        if Const(name) in found:
            return True
        whole = all(isinstance(one, Box) and len(one.items) < MAX_ITEMS for one in listed)
        complete = whole and found and all(isinstance(one, Const) for one in found)
        return not name.startswith("_") and not complete

    def module_name(self, path: str, name: str) -> Values:
        """A name of a module, seen from outside."""
        file = self.file(path)
        found = self.bound_name(name, Frame(path, 0))
        found = found or self.imports.submodule(Module(path), name)
        known = name in file.scopes[0].names
        return found or (() if known else self.starred_name(path, name))

    def imported(self, expr: list[Any], frame: Frame) -> Values:
        _, dotted, level, name = expr
        found: list[Value] = []
        for module in self.imports.module(dotted, level, frame.path):
            if isinstance(module, Module) and module.path == frame.path:
                found.extend(self.imports.submodule(module, name))
            elif isinstance(module, External):
                found.append(External(f"{module.name}.{name}"))
            else:
                found.extend(self.attribute(module, name))
        return distinct(found)
