"""Edges of an engine against the PyCG micro-benchmark, definition to definition.

Builtin and external callees are left out, as are the modules of `external` and `dynamic`; a
constructor counts as its class.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pi_extractors.call_graph.graph import Engine, Graph, SymbolId
from pi_extractors.snapshot import DirectorySnapshot

LEFT_OUT = ("external", "dynamic")
Edge = tuple[str, str]


@dataclass(frozen=True)
class Score:
    """Counts of edges."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of the found edges that are right."""
        return self.right / max(self.right + self.wrong, 1)

    @property
    def recall(self) -> float:
        """Share of the true edges that were found."""
        return self.right / max(self.right + self.missed, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def modules(benchmark: Path) -> Iterator[tuple[Path, set[Edge]]]:
    """The benchmark's modules and their true edges."""
    for file in sorted(benchmark.glob("micro-benchmark/snippets/*/*/callgraph.json")):
        if file.parent.parent.name not in LEFT_OUT:
            graph: dict[str, list[str]] = json.loads(file.read_text())
            yield (
                file.parent,
                {
                    (constructor(caller), constructor(callee))
                    for caller, callees in graph.items()
                    for callee in callees
                    if not caller.startswith("<") and not callee.startswith("<")
                },
            )


def constructor(name: str) -> str:
    """A constructor's class."""
    return name.removesuffix(".__init__")


def dotted(symbol: SymbolId) -> str:
    """A symbol as the benchmark names it."""
    path, _, qualname = symbol.partition("::")
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return constructor(f"{module}.{qualname}".removesuffix("."))


def edges(graph: Graph, with_constructor: set[str]) -> set[Edge]:
    """The edges of a graph; a class without a constructor runs nothing of the repository."""
    calls = graph.calls_from(graph.symbols)
    return {
        (dotted(call.caller), dotted(call.callee))
        for call in calls
        if graph.symbols[call.callee].kind == "function" or dotted(call.callee) in with_constructor
    }


def score(engine: Engine, benchmark: Path, show: bool = False) -> tuple[int, Score]:
    """The number of modules and the counts over all of them."""
    right = wrong = missed = count = 0
    for folder, truth in modules(benchmark):
        graph = engine.open(DirectorySnapshot(folder))
        found = edges(graph, set())
        count += 1
        right += len(found & truth)
        wrong += len(found - truth)
        missed += len(truth - found)
        if show and found != truth:
            name = folder.relative_to(folder.parent.parent)
            print(f"{name}: wrong {sorted(found - truth)}, missed {sorted(truth - found)}")
    return count, Score(right, wrong, missed)
