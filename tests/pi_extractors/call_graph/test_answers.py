"""Answers of engines, kept by tree."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from pi_extractors.base import Snapshot
from pi_extractors.call_graph.answers import CachedEngine
from pi_extractors.call_graph.graph import Call, SymbolId
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
    engine: SmallEngine, folder: Path, *questions: list[SymbolId], tree: Snapshot = TREE
) -> list[list[SymbolId]]:
    """What the engine is asked when a cached one of it is asked some questions."""
    engine.graph.asked.clear()
    graph = CachedEngine(engine, folder).open(tree)
    for question in questions:
        assert graph.calls_from(question) == SmallEngine().graph.calls_from(question)
    graph.close()
    return engine.graph.asked


def test_what_was_asked_is_not_asked_again(tmp_path: Path) -> None:
    assert asked(SmallEngine(), tmp_path, [A], [A, B]) == [[A], [A, B]]
    assert asked(SmallEngine(), tmp_path, [A], [A, B]) == []
    assert asked(SmallEngine(), tmp_path, [A]) == []


def test_an_answer_counts_for_the_same_questions_in_the_same_order(tmp_path: Path) -> None:
    asked(SmallEngine(), tmp_path, [A], [B])
    assert asked(SmallEngine(), tmp_path, [B]) == [[B]]
    assert asked(SmallEngine(), tmp_path, [A], [A], [B]) == [[A], [A], [B]]
    assert asked(SmallEngine(), tmp_path, [A], [B], [A, B]) == [[A], [B], [A, B]]


def test_another_tree_or_version_is_asked(tmp_path: Path) -> None:
    asked(SmallEngine(), tmp_path, [A])
    assert asked(SmallEngine(), tmp_path, [A], tree=MemorySnapshot({"a.py": b"2"})) == [[A]]
    assert asked(SmallEngine("2"), tmp_path, [A]) == [[A]]


class Flaky(SmallEngine):
    """Skips something in every answer, after some seconds of a clock that it moves."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        super().__init__()

        class Graph(SmallGraph):
            def calls_from(self, scopes: Iterable[SymbolId]) -> Sequence[Call]:
                clock[0] += seconds
                self.skipped = [*self.skipped, LOST]
                return super().calls_from(scopes)

        self.graph = Graph(["a.py::f()"], [f"{A} -> {B}"])


LOST = Skipped(path="a.py", reason="no answer in time")


@pytest.mark.parametrize(("seconds", "again"), [(0.5, [[A]]), (10.0, [])])
def test_an_answer_that_lacks_something_is_kept_when_it_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, again: list[list[SymbolId]]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("pi_extractors.call_graph.answers.time.monotonic", lambda: clock[0])
    assert asked(Flaky(clock, seconds), tmp_path, [A]) == [[A]]
    assert asked(SmallEngine(), tmp_path, [A]) == again


def test_what_a_kept_answer_lacks_is_told_again(tmp_path: Path) -> None:
    clock = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pi_extractors.call_graph.answers.time.monotonic", lambda: clock[0])
        asked(Flaky(clock, 10.0), tmp_path, [A])
    graph = CachedEngine(SmallEngine(), tmp_path).open(TREE)
    graph.calls_from([A])
    assert graph.skipped == (LOST,)
    graph.close()


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    asked(SmallEngine(), tmp_path, [A])
    for file in tmp_path.glob("answers-1.sqlite*"):
        file.write_bytes(b"no database, " * 1000)
    assert asked(SmallEngine(), tmp_path, [A]) == [[A]]
    assert asked(SmallEngine(), tmp_path, [A]) == []


def test_closing_closes_the_graph(tmp_path: Path) -> None:
    engine = SmallEngine()
    CachedEngine(engine, tmp_path).open(TREE).close()
    assert engine.graph.closed
