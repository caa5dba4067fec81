"""Repositories, commits and instances that training shares with evaluation."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from harness.leakage.filter_manifest import load_filter_manifest
from harness.leakage.filter_rules import RowFacts
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import not_run
from harness.leakage.training import rows

NAME = "repository_overlap"
QUESTION = "Which repositories, commits and instances are in both training and evaluation?"
_SHOWN = 100


def check(inputs: AuditInputs) -> Check:
    """Count what both suites have, without the rows that the filter's manifest rejects.

    A shared instance id, base commit or gold patch is a leak. A shared repository is a note, as the
    standard rule allows it, and a leak where the manifest says `strict`. Raises SuiteError,
    FilterError.
    """
    if inputs.train is None:
        return not_run(NAME, QUESTION, "train")
    manifest = load_filter_manifest(inputs.filter_manifest) if inputs.filter_manifest else None
    rejected = {one.instance_id for one in manifest.rejected} if manifest else set()
    train = [one for one in rows(inputs.train).facts if one.instance_id not in rejected]
    evaluation = rows(inputs.evaluation).facts
    findings = list(_shared(inputs, train, evaluation))
    by_repository = Counter(one.repository for one in train)
    evaluated = Counter(one.repository for one in evaluation)
    shared = sorted(by_repository.keys() & evaluated.keys() - {""})
    strict = manifest is not None and manifest.strict
    if shared:
        count = sum(by_repository[name] for name in shared)
        findings.append(
            Finding(
                severity=Severity.LEAK if strict else Severity.NOTE,
                title=f"{len(shared)} of {len(evaluated)} evaluation repositories are in training "
                f"too, with {count} rows"
                + (", though the filter was strict" if strict else "; the standard rule allows it"),
                where=str(inputs.train),
                evidence=", ".join(f"{name} ({by_repository[name]})" for name in shared)[:400],
                reproduce=f"harness leakage filter --train {inputs.train} -e {inputs.evaluation} "
                "--strict --dry-run",
            )
        )
    leaks = sum(one.severity is Severity.LEAK for one in findings)
    return Check(
        name=NAME,
        question=QUESTION,
        status=Status.FAILED if leaks else Status.PASSED,
        reason=f"{len(train)} training rows and {len(evaluation)} evaluation instances share "
        f"{len(shared)} repositories; {leaks} leaks",
        findings=tuple(findings[:_SHOWN]),
        figures={
            "training_rows": len(train),
            "rejected_rows_left_out": len(rejected),
            "training_repositories": len(by_repository),
            "evaluation_repositories": len(evaluated),
            "shared_repositories": [
                {
                    "repository": name,
                    "training_rows": by_repository[name],
                    "evaluation_instances": evaluated[name],
                }
                for name in shared
            ],
        },
    )


def _shared(
    inputs: AuditInputs, train: Iterable[RowFacts], evaluation: Iterable[RowFacts]
) -> Iterable[Finding]:
    there: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in evaluation:
        for kind, value in _identities(one):
            there[kind][value].append(one.instance_id)
    for one in train:
        for kind, value in _identities(one):
            if same := there[kind].get(value):
                yield Finding(
                    severity=Severity.LEAK,
                    title=f"Training instance {one.instance_id} has the {kind} of evaluation "
                    f"instance {same[0]}",
                    where=f"{inputs.train}: row {one.number}",
                    evidence=f"{kind} {value}"[:400],
                    reproduce=f"harness leakage filter --train {inputs.train} "
                    f"-e {inputs.evaluation} --dry-run",
                )


def _identities(one: RowFacts) -> Iterable[tuple[str, str]]:
    if one.instance_id:
        yield "instance id", one.instance_id.casefold()
    if one.commit:
        yield "base commit", one.commit
    if one.touched:
        yield "gold patch", one.touched.digest
