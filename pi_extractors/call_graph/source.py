"""The call graph as PI: symbols reachable from the modules that the issue names."""

from collections.abc import Iterator, Sequence

from harness.records import Instance
from pi_extractors.base import EditLog, ExtractionError, Snapshot, TokenCounter
from pi_extractors.call_graph.answers import CachedEngine, Closable
from pi_extractors.call_graph.collection import no_collection
from pi_extractors.call_graph.engines import default_engine
from pi_extractors.call_graph.evaluation_files import evaluation_files
from pi_extractors.call_graph.graph import Engine, Graph
from pi_extractors.call_graph.issue_modules import IssueModules, issue_modules
from pi_extractors.call_graph.linker import store_folder
from pi_extractors.call_graph.reach import Reached, ReachLimits, reach
from pi_extractors.call_graph.render import render
from pi_extractors.records import PIRecord, Skipped, SourceName
from pi_extractors.snapshot_files import printable
from pi_extractors.source import BudgetedSource, digest

_MAX_SKIPPED = 50
_MAX_SAID = 80


class CallGraphSource(BudgetedSource):
    """What the code that an issue is about calls, within the repository, without its tests.

    Of an instance it reads the issue, and of the test patch the paths alone; never the solution.
    Source: CHOP App. D.1, p4, and D.6.
    """

    name = SourceName.CALL_GRAPH
    extractor = "call_graph/1"
    reads_repository = True

    def __init__(
        self,
        counter: TokenCounter | None = None,
        budget: int | None = None,
        *,
        engine: Engine | None = None,
        limits: ReachLimits | None = None,
    ) -> None:
        """`engine`: the default one, its answers kept in the user's cache, unless given."""
        super().__init__(counter, budget)
        self.engine = engine or CachedEngine(default_engine(), store_folder())
        self.limits = limits or ReachLimits()

    def inputs(
        self, item: Instance, snapshot: Snapshot | None = None, edits: EditLog = (), step: int = 0
    ) -> dict[str, str]:
        """What the text is made from. Raises ExtractionError without a snapshot."""
        if snapshot is None:
            raise ExtractionError(
                f"{item.instance_id}: a call graph needs the repository's snapshot"
            )
        return {
            "snapshot": snapshot.identity,
            "issue": digest(item.problem_statement),
            "tests": digest(*sorted(evaluation_files(snapshot.files, item.test_patch))),
            "engine": f"{self.engine.name} {self.engine.version}",
            "limits": digest(repr(self.limits)),
        }

    def extract(
        self,
        item: Instance,
        snapshot: Snapshot | None = None,
        edits: EditLog = (),
        *,
        step: int = 0,
    ) -> PIRecord:
        """The same at every step; an empty text for a repository without Python modules.

        Raises ExtractionError without a snapshot.
        """
        inputs = self.inputs(item, snapshot)
        assert snapshot is not None
        tests = evaluation_files(snapshot.files, item.test_patch)
        graph = self.engine.open(snapshot)
        try:
            with no_collection():
                issue = issue_modules(item.problem_statement, graph.symbols, tests)
                reached = reach(graph, issue, tests, self.limits)
                fitted = render(reached, graph.symbols, self.budget, self.counter)
                skipped = _skipped(graph, snapshot)
        finally:
            if isinstance(graph, Closable):
                graph.close()
        notes = [*_notes(issue, reached)]
        if len(skipped) > _MAX_SKIPPED:
            notes.append(f"{len(skipped)} parts skipped; the first {_MAX_SKIPPED} are listed")
        return self.make(
            item.instance_id, fitted, inputs, notes=notes, skipped=skipped[:_MAX_SKIPPED]
        )


def _skipped(graph: Graph, snapshot: Snapshot) -> Sequence[Skipped]:
    """What the engine could not read or ask comes first: it is about Python files."""
    return tuple(dict.fromkeys((*graph.skipped, *snapshot.skipped)))


def _notes(issue: IssueModules, reached: Reached) -> Iterator[str]:
    if issue.cut:
        yield "only the first part of a very long issue was read"
    if issue.fallback:
        yield f"fallback: {issue.fallback}"
    for module in issue.modules:
        if module.path in reached.roots:
            said = ", ".join(
                f"{one.kind} {printable(one.said)[:_MAX_SAID]} ({one.points:.1f})"
                for one in module.evidence[:3]
            )
            yield f"module {module.path}: {module.points:.1f} points: {said}"
    if reached.unexplored:
        yield f"definitions reached whose calls were not followed: {reached.unexplored}"
