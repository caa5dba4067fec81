"""What is reachable from an issue's modules."""

import pytest

from pi_extractors.call_graph.graph import SymbolId
from pi_extractors.call_graph.issue_modules import issue_modules
from pi_extractors.call_graph.reach import Reached, ReachLimits, reach
from tests.pi_extractors.call_graph.small_graph import SmallGraph

DEFINITIONS = [
    "a.py::",
    "a.py::go()",
    "a.py::other()",
    "a.py::C",
    "a.py::C.run(self)",
    "b.py::",
    "b.py::one()",
    "b.py::two()",
    "b.py::two.<lambda1>()",
    "b.py::unreached()",
    "c.py::",
    "c.py::far()",
    "d.py::",
    "d.py::farther()",
    "tests/t.py::",
    "tests/t.py::check()",
]
CALLS = [
    "a.py::go -> b.py::one",
    "a.py::go -> b.py::two?",
    "a.py::go -> a.py::go",
    "a.py::go -> tests/t.py::check",
    "a.py::go -> elsewhere.py::gone",
    "a.py::go -> b.py::two.<lambda1>",
    "a.py::other.<lambda1> -> a.py::C.run",
    "b.py::one -> c.py::far",
    "b.py::unreached -> a.py::go",
    "c.py::far -> d.py::farther",
    "tests/t.py::check -> d.py::farther",
]
TESTS = {"tests/t.py"}


@pytest.fixture
def graph() -> SmallGraph:
    return SmallGraph(DEFINITIONS, CALLS)


def follow(graph: SmallGraph, text: str, limits: ReachLimits | None = None) -> Reached:
    issue = issue_modules(text, graph.symbols, TESTS)
    return reach(graph, issue, TESTS, limits or ReachLimits())


def edges(reached: Reached) -> list[str]:
    return [f"{one.symbol} -> {one.callee}" for one in reached.items if one.callee]


def test_calls_are_followed_from_the_named_module_alone(graph: SmallGraph) -> None:
    reached = follow(graph, "a.py is wrong")
    assert reached.roots == ("a.py",)
    assert set(edges(reached)) == {
        "a.py::go -> b.py::one",
        "a.py::go -> b.py::two",
        "a.py::other -> a.py::C.run",
        "b.py::one -> c.py::far",
    }
    shown = {one.symbol for one in reached.items}
    assert "b.py::unreached" not in shown
    assert "d.py::farther" not in shown


def test_further_levels_are_followed_when_asked_for(graph: SmallGraph) -> None:
    reached = follow(graph, "a.py is wrong", ReachLimits(scopes=(60, 30, 30)))
    assert "c.py::far -> d.py::farther" in edges(reached)
    assert reached.unexplored == 1


def test_tests_the_outside_and_recursion_are_left_out(graph: SmallGraph) -> None:
    reached = follow(graph, "a.py is wrong", ReachLimits(scopes=(60, 30, 30)))
    shown = {one.symbol for one in reached.items} | {one.callee for one in reached.items}
    assert not {one for one in shown if one and one.startswith(("tests/", "elsewhere"))}
    assert not {one for one in shown if one and "<" in one}
    assert "a.py::go -> a.py::go" not in edges(reached)
    assert not {one for scopes in graph.asked for one in scopes if one.startswith("tests/")}


def test_guesses_come_after_what_is_resolved(graph: SmallGraph) -> None:
    reached = follow(graph, "a.py: `go` is wrong")
    order = edges(reached)
    assert order.index("b.py::one -> c.py::far") < order.index("a.py::go -> b.py::two")
    assert [one.guess for one in reached.items if one.callee == "b.py::two"] == [True]
    assert [one.guess for one in reached.items if one.callee == "b.py::one"] == [False]


def test_what_the_issue_names_comes_first(graph: SmallGraph) -> None:
    assert edges(follow(graph, "a.py: `go`"))[0].startswith("a.py::go ")
    assert edges(follow(graph, "a.py: `other`"))[0].startswith("a.py::other ")


def test_a_method_of_a_named_class_is_about_the_issue() -> None:
    graph = SmallGraph(["a.py::", "a.py::Xy", "a.py::Xy.run()", "a.py::zz()"])
    order = [one.symbol for one in follow(graph, "a.py: `Xy`").items]
    assert order.index(SymbolId("a.py::Xy.run")) < order.index(SymbolId("a.py::zz"))


def test_scopes_are_bounded_and_the_rest_is_counted(graph: SmallGraph) -> None:
    reached = follow(graph, "a.py: `go`", ReachLimits(scopes=(1, 1)))
    assert graph.asked[0] == ["a.py::go"]
    assert [len(scopes) for scopes in graph.asked] == [1, 1, 0]
    assert reached.unexplored == 4 + 1 + 1
    assert len(edges(follow(graph, "a.py", ReachLimits(calls=1)))) == 1


def test_modules_far_behind_the_first_are_no_roots(graph: SmallGraph) -> None:
    assert follow(graph, "a.py b.py c.py d.py").roots == ("a.py", "b.py", "c.py")
    issue = issue_modules("a.py b.py\nimport c", graph.symbols, TESTS)
    assert [one.path for one in issue.modules[:3]] == ["a.py", "b.py", "c.py"]
    assert reach(graph, issue, TESTS).roots == ("a.py", "b.py")
    assert reach(graph, issue, TESTS, ReachLimits(share=0.0)).roots == ("a.py", "b.py", "c.py")


def test_the_further_away_the_lower(graph: SmallGraph) -> None:
    ranks = {one.symbol: one.rank for one in follow(graph, "a.py: `go`").items if not one.callee}
    near, far = ranks[SymbolId("b.py::one")], ranks[SymbolId("c.py::far")]
    assert ranks[SymbolId("a.py::go")] * 0.8 > near
    assert near * 0.8 > far


def test_no_modules(graph: SmallGraph) -> None:
    assert follow(SmallGraph([]), "a.py").items == ()
