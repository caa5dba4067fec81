"""Answers of engines, kept by tree."""

from pathlib import Path

from pi_extractors.base import Snapshot
from pi_extractors.call_graph.answers import CachedEngine
from pi_extractors.call_graph.graph import SymbolId
from pi_extractors.records import Skipped
from pi_extractors.snapshot import MemorySnapshot
from tests.pi_extractors.call_graph.small_graph import SmallGraph

A, B = SymbolId("a.py::f"), SymbolId("a.py::g")
TREE = MemorySnapshot({"a.py": b"1"})


class SmallEngine:
    """Opens one graph, whatever the snapshot."""

    name = "small"

    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.graph = SmallGraph(["a.py::f()", "a.py::g()"], [f"{A} -> {B}", f"{B} -> {A}?"])

    def open(self, snapshot: Snapshot) -> SmallGraph:
        return self.graph


def asked(
    engine: SmallEngine, folder: Path, *scopes: SymbolId, tree: Snapshot = TREE
) -> list[SymbolId]:
    """What the engine is asked when a cached one of it is asked about some definitions."""
    engine.graph.asked.clear()
    graph = CachedEngine(engine, folder).open(tree)
    assert list(graph.calls_from(scopes)) == list(SmallEngine().graph.calls_from(scopes))
    graph.close()
    return [scope for wanted in engine.graph.asked for scope in wanted]


def test_what_was_asked_is_not_asked_again(tmp_path: Path) -> None:
    assert asked(SmallEngine(), tmp_path, A) == [A]
    assert asked(SmallEngine(), tmp_path, A, B) == [B]
    assert asked(SmallEngine(), tmp_path, A, B) == []


def test_another_tree_or_version_is_asked(tmp_path: Path) -> None:
    asked(SmallEngine(), tmp_path, A)
    assert asked(SmallEngine(), tmp_path, A, tree=MemorySnapshot({"a.py": b"2"})) == [A]
    assert asked(SmallEngine("2"), tmp_path, A) == [A]


def test_an_answer_with_something_skipped_is_not_kept(tmp_path: Path) -> None:
    class Flaky(SmallGraph):
        def calls_from(self, scopes):  # type: ignore[no-untyped-def]
            self.skipped = [Skipped(path="a.py", reason="no answer in time")]
            return super().calls_from(scopes)

    engine = SmallEngine()
    engine.graph = Flaky(["a.py::f()"], [f"{A} -> {B}"])
    assert asked(engine, tmp_path, A) == [A]
    assert asked(SmallEngine(), tmp_path, A) == [A]


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    asked(SmallEngine(), tmp_path, A)
    for file in tmp_path.glob("answers-1.sqlite*"):
        file.write_bytes(b"no database, " * 1000)
    assert asked(SmallEngine(), tmp_path, A) == [A]
    assert asked(SmallEngine(), tmp_path, A) == []


def test_closing_closes_the_graph(tmp_path: Path) -> None:
    engine = SmallEngine()
    CachedEngine(engine, tmp_path).open(TREE).close()
    assert engine.graph.closed
