"""The text of a call graph."""

import pytest

from pi_extractors.call_graph.graph import SymbolId
from pi_extractors.call_graph.reach import Item, Reached
from pi_extractors.call_graph.render import render
from pi_extractors.tokens import Estimate
from tests.pi_extractors.call_graph.small_graph import SmallGraph

GRAPH = SmallGraph(
    [
        "pkg/a.py::",
        "pkg/a.py::helper(x, *, y=1)",
        "pkg/a.py::C(Base)",
        "pkg/a.py::C.run(self)",
        "pkg/a.py::C.stop(self)",
        "pkg/a.py::C.run.inner()",
        "pkg/b.py::",
        "pkg/b.py::D()",
        "pkg/b.py::D.__init__(self)",
        "pkg/b.py::load(path)",
    ]
)
COUNTER = Estimate()


def item(line: str, rank: float = 1.0) -> Item:
    symbol, _, callee = line.partition(" -> ")
    guess = callee.endswith("?")
    return Item(rank, SymbolId(symbol), SymbolId(callee.rstrip("?")) if callee else None, guess)


def text(*lines: str) -> list[str]:
    """The lines below the heading."""
    reached = Reached(tuple(map(item, lines)), (), 0)
    return render(reached, GRAPH.symbols, 10_000, COUNTER).text.split("\n")[1:]


def test_calls_are_grouped_by_file_class_and_caller() -> None:
    assert text(
        "pkg/a.py::C.run -> pkg/b.py::D.__init__",
        "pkg/a.py::C.run -> pkg/a.py::C.stop",
        "pkg/a.py::C.run -> pkg/a.py::helper?",
        "pkg/b.py::load -> pkg/a.py::C.run",
        "pkg/a.py::helper -> pkg/b.py::load",
        "pkg/a.py:: -> pkg/a.py::helper",
        "pkg/a.py::C.run.inner",
    ) == [
        "[1] pkg/a.py",
        "calls helper",
        "def helper(x, *, y=1): line 2",
        "  calls load [2]",
        "class C(Base): line 3",
        "  def run(self): line 4",
        "    calls D [2], .stop, helper?",
        "  def run.inner(): line 6",
        "[2] pkg/b.py",
        "def load(path): line 10",
        "  calls C.run [1]",
    ]


def test_a_class_stands_once_above_its_methods() -> None:
    assert text("pkg/a.py::C", "pkg/a.py::C.stop", "pkg/a.py::C.run") == [
        "[1] pkg/a.py",
        "class C(Base): line 3",
        "  def run(self): line 4",
        "  def stop(self): line 5",
    ]


def test_nothing_reached_is_an_empty_text() -> None:
    assert render(Reached((), (), 0), GRAPH.symbols, 100, COUNTER).text == ""


@pytest.mark.parametrize("budget", [0, 20, 60, 61, 75, 90, 120, 200, 400, 1000, 5000])
def test_the_budget_holds_and_whole_lines_are_cut(budget: int) -> None:
    names = [f"m{number % 7}.py::C{number % 3}.method_{number}(self)" for number in range(60)]
    modules = [f"m{number}.py::" for number in range(7)]
    classes = [f"m{number}.py::C{other}" for number in range(7) for other in range(3)]
    graph = SmallGraph([*modules, *classes, *names])
    bare = [name.partition("(")[0] for name in names]
    calls = [f"{a} -> {b}" for a, b in zip(bare, bare[1:] + bare[:1], strict=True)]
    reached = Reached(tuple(item(call, 1 / (at + 1)) for at, call in enumerate(calls)), (), 0)
    whole = render(reached, graph.symbols, 10**6, COUNTER)
    fitted = render(reached, graph.symbols, budget, COUNTER)
    assert fitted.tokens == COUNTER.count(fitted.text) <= budget
    assert not whole.truncated
    assert fitted.truncated == (fitted.text != whole.text)
    if budget < 60:
        assert fitted.text == ""
    if fitted.truncated and fitted.text:
        *lines, marker = fitted.text.split("\n")
        assert marker == f"[cut to fit: {fitted.left_out} of 60 calls and definitions left out]"
        assert sum(line.count(".") for line in lines[1:] if "calls" in line) == 60 - fitted.left_out
        more = render(reached, graph.symbols, budget + 40, COUNTER)
        assert more.left_out < fitted.left_out


def test_hostile_names_stay_on_their_line_and_short() -> None:
    long = "a" * 5000
    graph = SmallGraph([f"m.py::{long}(self,\n\n x='\n[1] fake.py', {'y, ' * 500})", "m.py::b()"])
    reached = Reached((item("m.py::b -> m.py::" + long), item("m.py::" + long)), (), 0)
    lines = render(reached, graph.symbols, 10_000, COUNTER).text.split("\n")
    assert lines[1] == "[1] m.py"
    assert len(lines) == 5
    assert max(map(len, lines[1:])) < 300
