"""Which of a repair instance's functions its failing tests reach, as PI."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.records import Instance
from harness.records.repair.text import reach_text, short_name, words
from pi_extractors.base import EditLog, ExtractionError, Snapshot
from pi_extractors.budget import Fitted
from pi_extractors.manifest_functions import Found, TestTree, find_tests
from pi_extractors.manifest_ids import parse_id
from pi_extractors.records import PIRecord, SourceName
from pi_extractors.repair.gold import choice_words, repair_statement
from pi_extractors.repair.names import NameGraph, names_used
from pi_extractors.source import BudgetedSource, digest

MOST_NAMED = 2


class RepairReachSource(BudgetedSource):
    """The functions of the statement that FAIL_TO_PASS tests reach, the likeliest first.

    A function's points: the mean of 1/distance over the failing test functions, less that over
    the passing ones, in the call graph by names; and the share of its words that the names of
    failing tests have. Nothing of the gold patch is read. Empty when no function has points.
    """

    name = SourceName.TEST_MANIFEST
    extractor = "repair_reach/1"

    def inputs(
        self, item: Instance, snapshot: Snapshot | None = None, edits: EditLog = (), step: int = 0
    ) -> dict[str, str]:
        """Digests of what the text is made from."""
        return {
            "statement": digest(item.problem_statement),
            "test_patch": digest(item.test_patch),
            "fail_to_pass": digest(*item.FAIL_TO_PASS),
            "pass_to_pass": digest(*item.PASS_TO_PASS),
            "snapshot": snapshot.identity if snapshot else "",
        }

    def extract(
        self,
        item: Instance,
        snapshot: Snapshot | None = None,
        edits: EditLog = (),
        *,
        step: int = 0,
    ) -> PIRecord:
        """The text. Raises ExtractionError without a snapshot, for what is no repair instance, and
        for a malformed test patch."""
        if snapshot is None:
            raise ExtractionError(f"{item.instance_id}: the repair view reads the repository")
        functions = repair_statement(item).functions
        tree = TestTree(item, snapshot)
        points = _points(item, functions, tree, NameGraph(snapshot))
        named = sorted(functions, key=lambda one: (-points[one], one))[:MOST_NAMED]
        own = choice_words(item, functions)
        chosen = [own[name] for name in named if points[name] > 0]
        text = reach_text(chosen) if chosen else ""
        fitted = Fitted(text, self.counter.count(text))
        inputs = self.inputs(item, snapshot)
        return self.make(item.instance_id, fitted, inputs, skipped=tree.skipped)


def _points(
    item: Instance, functions: Sequence[str], tree: TestTree, graph: NameGraph
) -> dict[str, float]:
    failing = _functions(find_tests(tree, item.FAIL_TO_PASS))
    passing = _functions(find_tests(tree, item.PASS_TO_PASS)) - failing
    reached = _nearness(failing, tree, graph)
    also = _nearness(passing, tree, graph)
    said = Counter(word for test in item.FAIL_TO_PASS for word in _words(parse_id(test).name))
    points = {}
    for name in functions:
        short = short_name(name)
        own = words(short).split()
        shared = sum(said[word] for word in own) / len(own) / max(1, len(item.FAIL_TO_PASS))
        points[name] = reached.get(short, 0.0) - also.get(short, 0.0) + shared
    return points


def _functions(found: Mapping[str, Found | None]) -> set[Found]:
    return {one for one in found.values() if one is not None}


def _nearness(tests: Iterable[Found], tree: TestTree, graph: NameGraph) -> dict[str, float]:
    """The mean of 1/distance over tests, for each function that any of them reaches."""
    listed = list(tests)
    total: Counter[str] = Counter()
    for test in listed:
        for name, distance in graph.distances(_used_by(test, tree)).items():
            total[name] += 1 / distance  # type: ignore[assignment]  # Counter adds any numbers
    return {name: points / len(listed) for name, points in total.items()}


def _used_by(test: Found, tree: TestTree) -> frozenset[str]:
    """The names in a test, and in helpers and fixtures of its file that it names."""
    used = names_used(test.function.text)
    helpers = tree.names(test.path).names
    return used.union(*(names_used(helpers[name].text) for name in used if name in helpers))


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))
