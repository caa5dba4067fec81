"""Resolvers about what the linker leaves open."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pi_extractors.call_graph.deadline import DeadlineExceededError, within
from pi_extractors.call_graph.engines import default_engine
from pi_extractors.call_graph.jedi_resolver import Jedi
from pi_extractors.call_graph.linker import LINKER_VERSION
from pi_extractors.call_graph.resolver import Answer, Location, Site
from pi_extractors.call_graph.union import UnionEngine
from pi_extractors.call_graph.workspace import Workspace
from pi_extractors.records import Skipped
from pi_extractors.snapshot import MemorySnapshot

FILES = {
    "lib/shape.py": b"class Shape:\n    def area(self): pass\n    def __init__(self): pass\n",
    "lib/other.py": b"class Other:\n    def area(self): pass\n",
    "use.py": b'''
from lib.shape import Shape
def known():
    Shape()
def documented(one):
    """
    :type one: lib.shape.Shape
    """
    one.area()
def unknown(one):
    one.area()
''',
}


class Fixed:
    """Answers every site with one location."""

    name = "fixed"
    version = "1"

    def __init__(self, location: Location) -> None:
        self.location = location
        self.asked: list[Site] = []
        self.closed = False

    def open(self, workspace: Workspace) -> "Fixed":
        return self

    def resolve(self, path: str, text: str, sites: Sequence[Site]) -> Answer:
        self.asked += sites
        skipped = [Skipped(path=path, reason="fixed: slow")]
        return Answer({site: [self.location] for site in sites}, skipped)

    def close(self) -> None:
        self.closed = True


def test_only_open_sites_are_asked(tmp_path: Path) -> None:
    resolver = Fixed(Location("lib/shape.py", 1, 0.6))
    engine = UnionEngine([resolver], tmp_path)
    graph = engine.open(MemorySnapshot(FILES))
    calls = graph.calls_from([one for one in graph.symbols if one.startswith("use.py")])
    assert [(one.name, one.line, one.column) for one in resolver.asked] == [
        ("area", 9, 8),
        ("area", 11, 8),
    ]
    found = [(one.caller, one.callee, one.resolver, one.confidence) for one in calls]
    constructor = "lib/shape.py::Shape.__init__"  # a class gives its constructor
    assert found == [
        ("use.py::documented", constructor, "fixed", 0.6),
        ("use.py::known", constructor, "linker", 0.95),
        ("use.py::unknown", constructor, "fixed", 0.6),
    ]
    assert [one.reason for one in graph.skipped] == ["fixed: slow"]
    graph.close()
    assert resolver.closed
    assert (engine.name, engine.version) == ("linker+fixed", f"{LINKER_VERSION}, 1")


def test_what_lies_outside_gives_no_call(tmp_path: Path) -> None:
    files = {**FILES, "lib/other.py": b""}  # so that the name alone would do
    for location in (Location(None), Location("lib/gone.py", 1), Location("lib/shape.py", 99)):
        engine = UnionEngine([Fixed(location)], tmp_path)
        graph = engine.open(MemorySnapshot(files))
        assert not graph.calls_from(["use.py::unknown"])  # type: ignore[list-item]


def test_jedi_reads_docstrings(tmp_path: Path) -> None:
    graph = default_engine(tmp_path).open(MemorySnapshot(FILES))
    calls = graph.calls_from(["use.py::documented", "use.py::unknown"])  # type: ignore[list-item]
    assert [(one.callee, one.resolver) for one in calls] == [("lib/shape.py::Shape.area", "jedi")]
    assert not graph.skipped


def test_jedi_has_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(self: object, line: int, column: int) -> list[object]:
        while True:
            time.sleep(0.01)

    monkeypatch.setattr("jedi.Script.infer", hang)
    engine = UnionEngine([Jedi(request=0.2, session=0.3)], tmp_path)
    graph = engine.open(MemorySnapshot(FILES))
    graph.calls_from([one for one in graph.symbols if one.startswith("use.py")])
    reasons = [one.reason for one in graph.skipped]
    assert reasons[0] == "jedi: no answer within 0.2 s at line 9"
    assert len(reasons) == 2


def test_workspace_holds_python_files_only() -> None:
    with Workspace({"a/b.py": "x = 1\r\n", "a/evil.so": "", "c.pyi": "y: int\n"}, ["."]) as one:
        root = one.root
        names = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.*"))
        assert names == ["a/b.py", "c.pyi"]
        assert (root / "a/b.py").read_bytes() == b"x = 1\r\n"
        assert one.relative(root / "a/b.py") == "a/b.py"
        assert one.relative(root.parent / "x.py") is None
    assert not root.exists()


def test_within() -> None:
    assert within(5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)

    def spin() -> None:
        while True:
            try:
                time.sleep(0.001)
            except Exception:  # as careless code does
                continue

    with pytest.raises(DeadlineExceededError, match=r"within 0\.1 s") as caught:
        within(0.1, spin)
    assert not caught.value.stuck
