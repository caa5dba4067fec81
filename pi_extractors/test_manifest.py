"""The test functions of an instance's manifest as PI."""

from bisect import bisect, insort
from collections.abc import Iterator, Mapping, Sequence

from harness.records import Instance
from pi_extractors.base import EditLog, ExtractionError, Snapshot
from pi_extractors.budget import Block, fit_blocks
from pi_extractors.manifest_functions import Found, TestTree, find_tests
from pi_extractors.manifest_ids import parse_id
from pi_extractors.records import PIRecord, SourceName
from pi_extractors.source import BudgetedSource, digest

_MAX_CASES = 3
_MAX_CASE = 60  # characters
_MAX_LISTED = 20


class TestManifestSource(BudgetedSource):
    """The FAIL_TO_PASS and PASS_TO_PASS test functions with their source, one block of text.

    FAIL_TO_PASS come first and are kept first, then the PASS_TO_PASS nearest to them: of the same
    class, of the same file, of others. Their source is taken from the snapshot with the row's test
    patch applied. Ids without source are listed.
    Source: CHOP App. D.1, p2.
    """

    __test__ = False  # no test of pytest's
    name = SourceName.TEST_MANIFEST
    extractor = "test_manifest/1"

    def inputs(
        self, item: Instance, snapshot: Snapshot | None = None, edits: EditLog = (), step: int = 0
    ) -> dict[str, str]:
        """Digests of what the text is made from."""
        return {
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
        """The tests within the budget. Raises ExtractionError without a snapshot, or for a
        malformed test patch."""
        if snapshot is None:
            raise ExtractionError(f"{item.instance_id}: test_manifest reads the repository")
        tree = TestTree(item, snapshot)
        failing = find_tests(tree, item.FAIL_TO_PASS)
        passing = find_tests(tree, item.PASS_TO_PASS)
        blocks = list(_blocks(failing, passing))
        notes = [
            f"{len(missing)} of {len(found)} {name} ids have no source in the snapshot"
            for name, found in (("FAIL_TO_PASS", failing), ("PASS_TO_PASS", passing))
            if (missing := _without(found))
        ]
        fitted = fit_blocks(blocks, self.budget, self.counter, unit="tests")
        return self.make(
            item.instance_id,
            fitted,
            self.inputs(item, snapshot),
            notes=notes,
            skipped=tree.skipped,
        )


def _blocks(
    failing: Mapping[str, Found | None], passing: Mapping[str, Found | None]
) -> Iterator[Block]:
    head = f"# FAIL_TO_PASS ({len(failing)}): fail now, must pass"
    order = list(_grouped(failing))
    cases = _cases(failing)
    for rank, found in enumerate(order):
        text = cases.get(found, "") + found.function.text
        yield Block(text, rank, _heads(found, head), divisible=True)
    yield from _list(_without(failing), head, len(order))
    head = f"# PASS_TO_PASS ({len(passing)}): pass now, must still pass"
    shown = set(order)
    near = [found for found in _grouped(passing) if found not in shown]
    ranks = _by_distance(near, order)
    for found in near:
        yield Block(found.function.text, len(order) + 1 + ranks[found], _heads(found, head))
    yield from _list(_without(passing), head, len(order) + 1 + len(near))


def _grouped(tests: Mapping[str, Found | None]) -> Iterator[Found]:
    """Each function once: files and classes in the order of their first test, then by line."""
    found = dict.fromkeys(one for one in tests.values() if one)
    places: dict[tuple[str, tuple[str, ...]], int] = {}
    files: dict[str, int] = {}
    for one in found:
        files.setdefault(one.path, len(files))
        places.setdefault((one.path, one.function.classes), len(places))
    return iter(
        sorted(
            found,
            key=lambda one: (
                files[one.path],
                places[one.path, one.function.classes],
                one.function.line,
            ),
        )
    )


def _by_distance(tests: Sequence[Found], failing: Sequence[Found]) -> dict[Found, int]:
    """The place of each test by how near it stands to one that fails."""
    places: dict[tuple[str, tuple[str, ...] | None], list[int]] = {}
    for one in failing:
        for classes in (one.function.classes, None):
            insort(places.setdefault((one.path, classes), []), one.function.line)

    def distance(test: Found) -> tuple[int, int]:
        for rank, classes in enumerate((test.function.classes, None)):
            if lines := places.get((test.path, classes)):
                after = bisect(lines, test.function.line)
                near = lines[max(0, after - 1) : after + 1]
                return rank, min(abs(line - test.function.line) for line in near)
        return 2, 0

    ordered = sorted(range(len(tests)), key=lambda place: (distance(tests[place]), place))
    return {tests[place]: rank for rank, place in enumerate(ordered)}


def _heads(found: Found, head: str) -> tuple[str, ...]:
    return (head, f"# {found.path}", *found.headers)


def _cases(failing: Mapping[str, Found | None]) -> dict[Found, str]:
    """A comment line naming the parameters that fail, by function."""
    parameters: dict[Found, list[str]] = {}
    for test_id, found in failing.items():
        if found and (text := parse_id(test_id).parameters):
            parameters.setdefault(found, []).append(text.replace("\n", " ")[:_MAX_CASE])
    return {
        found: f"{_indent(found)}# fails with {', '.join(texts[:_MAX_CASES])}"
        + (f" and {len(texts) - _MAX_CASES} more\n" if len(texts) > _MAX_CASES else "\n")
        for found, texts in parameters.items()
    }


def _indent(found: Found) -> str:
    text = found.function.text
    return text[: len(text) - len(text.lstrip())]


def _without(tests: Mapping[str, Found | None]) -> list[str]:
    return [test_id for test_id, found in tests.items() if found is None]


def _list(ids: Sequence[str], head: str, rank: int) -> Iterator[Block]:
    """The ids whose source is not there, in one block."""
    if ids:
        names = [" ".join(test_id.split())[: 2 * _MAX_CASE] for test_id in ids[:_MAX_LISTED]]
        more = [f"#   and {len(ids) - len(names)} more"] if len(ids) > len(names) else []
        lines = ["# without source here:", *(f"#   {name}" for name in names), *more]
        yield Block("\n".join(lines), rank, (head,), divisible=True)
