"""Where PI is from: training instances only, of their own fields, as the tier says."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.leakage.filter_diff import MalformedDiffError, touched_paths
from harness.leakage.filter_repositories import canonical_repository
from harness.leakage.filter_rules import RowFacts
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import evaluation_instances, not_run
from harness.leakage.pi_records import Kind, read_pi
from harness.leakage.training import Rows, rows
from harness.leakage.triples_check import triple_findings
from harness.records import Instance
from pi_extractors.call_graph.evaluation_files import evaluation_files
from pi_extractors.records import TIERS, PIRecord, SourceName, Tier

NAME = "pi_provenance"
QUESTION = "Is all PI of training instances only, of their own fields, and of the tier it claims?"

_FROM_ROW = ("patch", "test_patch", "fail_to_pass", "pass_to_pass", "issue")
_PATH = re.compile(r"[\w./+-]{1,500}\.pyi?\b")
_NOT_BASE = "snapshot: not the base commit"
_EXAMPLES = 5
_SHOWN = 200


def check(inputs: AuditInputs) -> Check:
    """Check PI records against the training and evaluation suites, and training rows against both.

    A record of an evaluation instance, a record made from other fields than the training row's, an
    oracle source called deployable, an evaluation test file in a call graph, and a solution in a
    deployable training row are leaks. What cannot be traced to the training suite is a warning,
    and leaves the check inconclusive. Raises AuditError, SuiteError, FilterError.
    """
    if not (inputs.pi or inputs.triples):
        return not_run(NAME, QUESTION, "pi or triples")
    evaluation = evaluation_instances(inputs.evaluation)
    train = rows(inputs.train) if inputs.train is not None else None
    look = _Look(evaluation, train)
    for path in inputs.pi:
        for number, record in read_pi(path):
            look.record(f"{path}:{number}", record)
    counts = {"training_rows": 0}
    for path in inputs.triples:
        for kind, where, evidence in triple_findings(path, inputs, evaluation, counts):
            look.add(kind, where, evidence)
    findings = list(look.findings(inputs))
    leaks = sum(one.severity is Severity.LEAK for one in findings)
    open_ = [one.title for one in findings if one.severity is Severity.WARNING]
    status = Status.FAILED if leaks else Status.INCONCLUSIVE if open_ else Status.PASSED
    return Check(
        name=NAME,
        question=QUESTION,
        status=status,
        reason=f"{look.records} PI records and {counts['training_rows']} training rows: "
        f"{leaks} kinds of leaks, {len(open_)} of warnings"
        + ("" if train else "; without the training suite only evaluation is told apart"),
        findings=tuple(findings[:_SHOWN]),
        figures={
            "pi_records": look.records,
            **counts,
            "records_by_source": dict(sorted(look.by_source.items())),
            "fields_traced_to_the_training_suite": look.traced,
        },
    )


EVALUATED = Kind(Severity.LEAK, "PI is about an evaluation instance")
STRANGER = Kind(Severity.WARNING, "PI is about an instance that the training suite has not")
TIER = Kind(Severity.LEAK, "An oracle source is called deployable")
OTHER_TIER = Kind(Severity.WARNING, "A deployable source is called oracle")
OTHER_ROW = Kind(Severity.LEAK, "PI was made from another text than the training row's")
EVALUATION_ROW = Kind(Severity.LEAK, "PI was made from a field of an evaluation instance")
NOT_BASE = Kind(Severity.WARNING, "PI was made from a snapshot that is not the base commit")
EVALUATION_TESTS = Kind(Severity.LEAK, "A call graph has a test file of an evaluation instance")
TESTS = Kind(Severity.WARNING, "A call graph has a test file")


@dataclass
class _Look:
    """Collects what is wrong by kind: one finding each, with the first examples."""

    evaluation: Mapping[str, Instance]
    train: Rows | None
    records: int = 0
    traced: int = 0
    by_source: dict[str, int] = field(default_factory=dict)
    seen: dict[Kind, list[tuple[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from pi_extractors.source import digest

        facts: Iterable[RowFacts] = self.train.facts if self.train else ()
        self._repositories = {one.instance_id: one.repository for one in facts}
        self._tests: dict[str, set[str]] = {}
        self._evaluated: dict[str, str] = {}
        for one in self.evaluation.values():
            repository = canonical_repository(one.repo)
            self._tests.setdefault(repository, set()).update(_touched(one.test_patch))
            for name in ("patch", "test_patch", "problem_statement"):
                self._evaluated[digest(getattr(one, name))] = f"{name} of {one.instance_id}"

    def add(self, kind: Kind, where: str, evidence: str) -> None:
        self.seen.setdefault(kind, []).append((where, evidence))

    def record(self, where: str, one: PIRecord) -> None:
        self.records += 1
        self.by_source[one.source] = self.by_source.get(one.source, 0) + 1
        if one.instance_id in self.evaluation:
            self.add(EVALUATED, where, f"{one.source} of {one.instance_id}")
        elif self.train is not None and one.instance_id not in self.train.ids:
            self.add(STRANGER, where, f"{one.source} of {one.instance_id}")
        if one.tier is not TIERS[one.source]:
            kind = TIER if one.tier is Tier.DEPLOYABLE else OTHER_TIER
            self.add(kind, where, f"{one.source} of {one.instance_id} has the tier {one.tier}")
        self._provenance(where, one)
        if one.source is SourceName.CALL_GRAPH:
            self._call_graph(where, one)

    def _provenance(self, where: str, one: PIRecord) -> None:
        stated = one.provenance.inputs
        row = self.train.digests.get(one.instance_id, {}) if self.train else {}
        for name in _FROM_ROW:
            value = stated.get(name)
            if value is None:
                continue
            if row.get(name) == value:
                self.traced += 1
            elif value in self._evaluated:
                text = f"{one.source} of {one.instance_id}: {name} is the {self._evaluated[value]}"
                self.add(EVALUATION_ROW, where, text)
            elif name in row:
                text = f"{one.source} of {one.instance_id}: {name} is {value}, not {row[name]}"
                self.add(OTHER_ROW, where, text)
        for note in one.provenance.notes:
            if note.startswith(_NOT_BASE):
                self.add(NOT_BASE, where, f"{one.source} of {one.instance_id}: {note}")

    def _call_graph(self, where: str, one: PIRecord) -> None:
        paths = set(_PATH.findall(one.text))
        evaluated = paths & self._tests.get(self._repositories.get(one.instance_id, ""), set())
        if evaluated:
            self.add(EVALUATION_TESTS, where, f"{one.instance_id}: {', '.join(sorted(evaluated))}")
        elif tests := evaluation_files(paths):
            self.add(TESTS, where, f"{one.instance_id}: {', '.join(sorted(tests))}")

    def findings(self, inputs: AuditInputs) -> Iterator[Finding]:
        train = f"--train {inputs.train} " if inputs.train else ""
        for kind, found in self.seen.items():
            more = f" and {len(found) - _EXAMPLES} more" if len(found) > _EXAMPLES else ""
            yield Finding(
                severity=kind.severity,
                title=f"{kind.title} ({len(found)})",
                where=found[0][0],
                evidence="; ".join(evidence for _, evidence in found[:_EXAMPLES])[:600] + more,
                reproduce=f"look at {', '.join(where for where, _ in found[:_EXAMPLES])}; or: "
                f"harness leakage audit -e {inputs.evaluation} {train}--pi FILE --triples FILE",
            )


def _touched(patch: str) -> Iterable[str]:
    try:
        return touched_paths(patch).paths.values()
    except MalformedDiffError:
        return ()
