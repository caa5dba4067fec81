"""Module names to files: import roots, packages, relative imports."""

import sys
from functools import cache

from pi_extractors.call_graph.repository import Repository, folder_of
from pi_extractors.call_graph.values import EXTERNAL, External, Folder, Module, Values

MINOR = frozenset({"test", "tests", "testing", "example", "examples", "doc", "docs", "benchmarks"})
MAX_LEVEL = 30


class Imports:
    """Finds what an import of a file means."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._files = repository.path_set
        self._folders = {""}
        for path in repository.paths:
            folder = folder_of(path)
            while folder not in self._folders:
                self._folders.add(folder)
                folder = folder_of(folder)
        self.packages = {folder_of(one) for one in self._files if one.endswith("__init__.py")}
        self.roots = self._find_roots()
        self._inside = cache(self._find_inside)
        self.absolute = cache(self._find_absolute)

    def _find_roots(self) -> list[str]:
        """The folders that a top-level package lies in, the repository's root first."""
        found = {""}
        for folder in self.packages:
            while folder in self.packages and folder:
                folder = folder_of(folder)
            found.add(folder)
        return sorted(found, key=lambda one: (_minor(one), one.count("/") + bool(one), one))

    def _find_inside(self, root: str, parts: tuple[str, ...]) -> Module | Folder | None:
        """The module of a dotted name below a root."""
        base = "/".join((root, *parts)) if root else "/".join(parts)
        for path in (f"{base}/__init__.py", f"{base}.py"):
            if path in self._files:
                return Module(path)
        return Folder(base) if base in self._folders else None

    def _find_absolute(self, dotted: str, importer: str) -> Values:
        """What `import dotted` gives in a file: a module, or something external."""
        parts = tuple(dotted.split("."))
        folder = folder_of(importer)
        around = []
        while True:
            own = folder == folder_of(importer)
            if folder not in self.packages or (own and self._repository.file(importer).old):
                around.append(folder)
            if not folder:
                break
            folder = folder_of(folder)
        standard = parts[0] in sys.stdlib_module_names
        namespace: Folder | None = None
        for root in dict.fromkeys([*around, *(one for one in self.roots if not _minor(one))]):
            if standard and not self._same_top(root, parts[0], importer):
                continue
            found = self._inside(root, parts)
            if isinstance(found, Module):
                return (found,)
            namespace = namespace or found
        if namespace is not None and not standard:
            return (namespace,)
        return (External(dotted),)

    def _same_top(self, root: str, top: str, importer: str) -> bool:
        package = f"{root}/{top}/" if root else f"{top}/"
        return importer.startswith(package)

    def relative(self, dotted: str, level: int, importer: str) -> Values:
        """What `from ..dotted import` starts from."""
        folder = folder_of(importer)
        for _ in range(min(level, MAX_LEVEL) - 1):
            folder = folder_of(folder)
        parts = tuple(dotted.split(".")) if dotted else ()
        found = self._inside(folder, parts)
        return (found,) if found else EXTERNAL

    def module(self, dotted: str, level: int, importer: str) -> Values:
        """The module that an import statement names."""
        return self.relative(dotted, level, importer) if level else self.absolute(dotted, importer)

    def submodule(self, of: Module | Folder, name: str) -> Values:
        """A module in a package."""
        if isinstance(of, Module) and not of.path.endswith("__init__.py"):
            return ()
        folder = folder_of(of.path) if isinstance(of, Module) else of.path
        found = self._inside(folder, (name,))
        return (found,) if found else ()


def _minor(root: str) -> bool:
    return any(part in MINOR for part in root.split("/"))
