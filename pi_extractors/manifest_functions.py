"""The source of an instance's tests: test ids → functions in the tree with its test patch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.records import Instance
from pi_extractors.base import ExtractionError, Snapshot
from pi_extractors.diffs import added_lines, apply_to, new_path, old_path, parse_diff
from pi_extractors.manifest_ids import ParsedId, parse_id
from pi_extractors.python_source import Function, Outline, outline
from pi_extractors.records import Skipped

_MAX_SIBLINGS = 40
_MAX_BASES = 20


@dataclass(frozen=True, slots=True)
class Found:
    """A test function, the file that it is in, and the headers of its classes."""

    path: str
    function: Function
    headers: tuple[str, ...]


class _Names:
    """The functions of a file by what ids say; of two of one name, the later counts."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self.methods = {(one.classes, one.name): one for one in functions}
        self.names = {one.name: one for one in functions}
        self.summaries = {one.summary: one for one in functions if one.name.startswith("test")}


class TestTree:
    """A snapshot with a test patch applied, in memory; Python files only.

    A file that the patch does not apply to keeps its content, and `skipped` says so.
    Raises ExtractionError for a malformed test patch.
    """

    __test__ = False  # no test of pytest's

    def __init__(self, instance: Instance, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._outlines: dict[str, Outline] = {}
        self._names: dict[str, _Names] = {}
        self._changed: dict[str, bytes] = {}
        self._removed: set[str] = set()
        self.skipped: list[Skipped] = []
        for file in parse_diff(instance.test_patch, f"{instance.instance_id}: test_patch"):
            try:
                old, new = old_path(file), new_path(file)
                if file.is_binary_file:
                    continue
                if new is None:
                    self._removed.add(old or "")
                elif old is None:
                    self._changed[new] = added_lines(file)
                else:
                    self._changed[new] = snapshot.read(old)
                    if old != new:
                        self._removed.add(old)
                    self._changed[new] = apply_to(self._changed[new], file)
            except ExtractionError as error:
                self.skipped.append(Skipped(path="test_patch", reason=str(error)))

    @property
    def changed(self) -> Sequence[str]:
        """The Python files that the test patch makes or changes."""
        return [path for path in self._changed if path.endswith(".py")]

    @cached_property
    def paths(self) -> Sequence[str]:
        """All Python files: those of the patch first, then by path."""
        others = (path for path in self._snapshot.files if path not in self._changed)
        return [
            path
            for path in (*self._changed, *others)
            if path.endswith(".py") and path not in self._removed
        ]

    def outline(self, path: str) -> Outline:
        """What a file defines; nothing for a file that cannot be read."""
        if path not in self._outlines:
            content = self._changed.get(path, b"")
            if path not in {*self._changed, *self._removed} and path in self._snapshot.files:
                content = self._snapshot.read(path)
            self._outlines[path] = outline(content)
        return self._outlines[path]

    def names(self, path: str) -> _Names:
        """A file's functions by name."""
        if path not in self._names:
            self._names[path] = _Names(self.outline(path).functions)
        return self._names[path]

    @cached_property
    def _by_name(self) -> Mapping[str, Sequence[str]]:
        """Paths by the last part of their module's name."""
        names: dict[str, list[str]] = {}
        for path in self.paths:
            parts = path.removesuffix(".py").removesuffix("/__init__").rsplit("/", 1)
            names.setdefault(parts[-1], []).append(path)
        return names

    def find_module(self, module: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
        """The file of a dotted name whose end may be classes, and those classes.

        Where several files fit, one of the test patch, else one below `tests`, else the shortest.
        """
        for length in range(len(module), 0, -1):
            inner = "/".join(module[:length])
            endings = (f"/{inner}.py", f"/{inner}/__init__.py")
            fitting = [
                path
                for path in self._by_name.get(module[length - 1], ())
                if f"/{path}".endswith(endings)
            ]
            if fitting:
                best = min(fitting, key=self._preference)
                return best, tuple(module[length:])
        return None

    def _preference(self, path: str) -> tuple[bool, bool, int, str]:
        return (path not in self._changed, not path.startswith("tests/"), len(path), path)

    def siblings(self, path: str) -> Iterator[str]:
        """Other files of the same folder, a few."""
        folder = path.rpartition("/")[0]
        others = (one for one in self.paths if one.rpartition("/")[0] == folder and one != path)
        for _, sibling in zip(range(_MAX_SIBLINGS), others, strict=False):
            yield sibling


def find_tests(tree: TestTree, ids: Sequence[str]) -> dict[str, Found | None]:
    """The function of every test id; None where the tree does not have it."""
    parsed = {test_id: parse_id(test_id) for test_id in ids}
    places: dict[str, None] = dict.fromkeys(tree.changed)
    for one in parsed.values():
        if one.path:
            places.setdefault(one.path)
        elif one.module and (found := tree.find_module(one.module)):
            places.setdefault(found[0])
    return {test_id: _find(tree, one, list(places)) for test_id, one in parsed.items()}


def _find(tree: TestTree, wanted: ParsedId, places: Sequence[str]) -> Found | None:
    if wanted.path:
        return _in_class(tree, wanted.path, wanted.classes, wanted.name)
    if wanted.module:
        found = tree.find_module(wanted.module)
        return _in_class(tree, found[0], found[1], wanted.name) if found else None
    for path in places:
        names = tree.names(path)
        function = (
            names.summaries.get(wanted.summary) if wanted.summary else names.names.get(wanted.name)
        )
        if function:
            return _found(tree, path, function)
    return None


def _in_class(tree: TestTree, path: str, classes: tuple[str, ...], name: str) -> Found | None:
    """A function of a class or of its base classes, here or in files of the same folder."""
    pending = [(path, classes)]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while pending and len(seen) < _MAX_BASES:
        place = pending.pop(0)
        if place in seen:
            continue
        seen.add(place)
        path, classes = place
        if function := tree.names(path).methods.get((classes, name)):
            return _found(tree, path, function)
        for base in tree.outline(path).bases.get(classes, ()):
            pending += _classes_named(tree, path, base.rpartition(".")[2])
    return None


def _classes_named(tree: TestTree, path: str, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if (name,) in tree.outline(path).bases:
        yield path, (name,)
        return
    for sibling in tree.siblings(path):
        if (name,) in tree.outline(sibling).bases:
            yield sibling, (name,)
            return


def _found(tree: TestTree, path: str, function: Function) -> Found:
    headers = tree.outline(path).headers
    depths = range(1, len(function.classes) + 1)
    return Found(path, function, tuple(headers[function.classes[:depth]] for depth in depths))
