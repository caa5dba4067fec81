"""Engines on modules of real packages, against each other and against judgements made by hand.

A site is right by agreement when two independent engines name the same definition and nobody
another; every other site that some engine resolves into the package needs a judgement.
"""

import csv
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from pi_extractors.call_graph.graph import Call, SymbolId
from pi_extractors.call_graph.jedi_resolver import Jedi
from pi_extractors.call_graph.lsp_session import LspLimits, LspResolver
from pi_extractors.call_graph.pylsp import pylsp
from pi_extractors.call_graph.resolver import Resolver, Site
from pi_extractors.call_graph.store import Store
from pi_extractors.call_graph.summary import CALL, CLASS
from pi_extractors.call_graph.union import UnionGraph
from pi_extractors.call_graph.values import Bound, Class, Function, Instance
from pi_extractors.snapshot import DirectorySnapshot

PACKAGES = Path(__file__).with_name("call_graph_packages.json")
JUDGEMENTS = Path(__file__).with_name("call_graph_judgements.tsv")
LINKER, UNION = "linker", "linker+jedi"
PATIENCE = 3600.0
Place = tuple[int, int]
Answers = dict[Place, list[str]]


def ty() -> LspResolver:
    """The language server of the package `ty`."""
    limits = LspLimits(session=PATIENCE)
    return LspResolver(
        "ty", "1", (str(Path(sys.executable).with_name("ty")), "server"), limits=limits
    )


RESOLVERS: dict[str, Callable[[], Resolver]] = {
    "jedi": lambda: Jedi(request=15, session=PATIENCE),
    "ty": ty,
    "pylsp": lambda: pylsp(LspLimits(session=PATIENCE)),
}
INDEPENDENT = ({LINKER}, {"jedi", "pylsp"}, {"ty"})


def download(package: str, version: str, folder: Path) -> Path:
    """The unpacked wheel of a package."""
    target = folder / f"{package}-{version}"
    if not target.exists():
        wheels = folder / "wheels"
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:",
             "-d", str(wheels / package), f"{package}=={version}"],
            check=True,
        )  # fmt: skip
        with zipfile.ZipFile(next((wheels / package).glob("*.whl"))) as archive:
            archive.extractall(target.with_suffix(".part"))
        shutil.move(target.with_suffix(".part"), target)
    return target


@dataclass
class Target:
    """A package under test; `answers`: a folder where engines' answers are kept."""

    name: str
    root: Path
    store: Path
    answers: Path
    asked: list[str] = field(default_factory=list)

    @cached_property
    def graph(self) -> UnionGraph:
        """The default engine's graph."""
        return UnionGraph(DirectorySnapshot(self.root), Store(self.store), [Jedi(15, PATIENCE)])

    def ask(self, engine: str, module: str) -> Answers:
        """An engine's answers about the named calls of a module; only other tools' are kept."""
        if engine in (LINKER, UNION):
            return self.own(engine, module)
        kept = self.answers / f"{self.name}-{module.replace('/', '.')}-{engine}.json"
        if not kept.exists():
            found = self.resolve(RESOLVERS[engine](), module)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps([[*place, names] for place, names in found.items()]))
        return {
            (line, column): sorted({self.normal(SymbolId(name)) for name in names})
            for line, column, names in json.loads(kept.read_text())
        }

    def own(self, engine: str, module: str) -> Answers:
        """The linker's or the union's answers."""
        graph = self.graph
        symbols = [one for one in graph.symbols if one.startswith(f"{module}::")]
        ask = super(UnionGraph, graph).calls_from if engine == LINKER else graph.calls_from
        return self.answers_of(ask(symbols), module)

    def answers_of(self, calls: Iterable[Call], module: str) -> Answers:
        """Calls by place, of the sites that are call expressions with a name."""
        rows = self.graph.repository.file(module).calls
        places = {(row.line, row.column) for row in rows if row.kind == CALL and row.name}
        found: Answers = {}
        for call in calls:
            if (call.line, call.column) in places:
                names = found.setdefault((call.line, call.column), [])
                names.append(self.normal(call.callee))
        return {place: sorted(set(names)) for place, names in sorted(found.items())}

    def resolve(self, resolver: Resolver, module: str) -> Answers:
        """What a resolver alone says."""
        graph = self.graph
        text = graph.repository.text(module)
        scopes: dict[int, list[Site]] = {}
        for row in graph.repository.file(module).calls:
            if row.kind == CALL and row.name:
                scopes.setdefault(row.scope, []).append(Site(row.line, row.column, row.name))
        session = resolver.open(graph.workspace)
        found: Answers = {}
        for sites in scopes.values():
            answer = session.resolve(module, text, sites)
            self.asked += [one.reason for one in answer.skipped]
            for site, locations in answer.locations.items():
                targets = [graph.definition_at(one) for one in locations if one.path]
                names = {self.normal(graph.repository.symbol_id(*one)) for one in targets if one}
                if names:
                    found[site.line, site.column] = sorted(names)
        session.close()
        return found

    def normal(self, symbol: SymbolId) -> str:
        """A constructor by its class's `__init__`, else `__new__`, else the class."""
        graph = self.graph
        path = symbol.partition("::")[0]
        scope = graph._symbols.scopes(symbol)[0]
        if graph.repository.outlines(path)[scope].kind != CLASS:
            return symbol
        cls = Class(path, scope)
        evaluator = graph.evaluator
        for name in ("__init__", "__new__"):
            find = partial(evaluator.found_in, evaluator.mro(cls), Instance(cls), name)
            found, _ = evaluator.unhurried(find)
            for one in found:
                function = one.function if isinstance(one, Bound) else one
                if isinstance(function, Function):
                    return graph.repository.symbol_id(function.path, function.scope)
        return symbol


@dataclass
class Tally:
    """Sites of one engine: right, wrong, and without a judgement."""

    right: int = 0
    wrong: int = 0
    open: int = 0


Judgements = dict[tuple[str, str, int, int], set[str]]


def judgements() -> Judgements:
    """True targets by package, module, line and column; an empty set: outside the package."""
    if not JUDGEMENTS.exists():
        return {}
    with JUDGEMENTS.open(newline="") as file:
        return {
            (row["package"], row["module"], int(row["line"]), int(row["column"])): set(
                row["targets"].split()
            )
            for row in csv.DictReader(file, delimiter="\t")
        }


def agreed(answers: dict[str, list[str]]) -> bool:
    """Whether two independent engines say the same and nobody says anything else."""
    said = [set(names) for names in answers.values()]
    groups = [one for one in INDEPENDENT if one & set(answers)]
    return len(groups) > 1 and all(one == said[0] for one in said)
