"""Where PI and training rows are from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.leakage import pi_provenance
from harness.leakage.findings import Check, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError
from pi_extractors.gold_patch import GoldPatchSource
from pi_extractors.records import PIRecord, Provenance, SourceName, Tier
from pi_extractors.source import digest
from tests.leakage.audit_inputs import (
    added,
    instances,
    pi_record,
    triple,
    write_pi,
    write_suite,
    write_triples,
)

EVALUATION = instances(4)
TRAIN = instances(8, first=10)
ONE = TRAIN[0]
SAME_REPOSITORY = next(one for one in EVALUATION if one.repo == ONE.repo)
CALL_GRAPH = "src/shapes/area.py\n  class Square\n    area() -> normalise_units()"


@pytest.fixture
def inputs(tmp_path: Path) -> AuditInputs:
    return AuditInputs(
        evaluation=write_suite(tmp_path / "evaluation.jsonl", EVALUATION),
        train=write_suite(tmp_path / "train.jsonl", TRAIN),
    )


def of_pi(inputs: AuditInputs, tmp_path: Path, *records: PIRecord) -> Check:
    path = write_pi(tmp_path / "pi.jsonl", records)
    return pi_provenance.check(inputs.model_copy(update={"pi": (path,)}))


def of_rows(inputs: AuditInputs, tmp_path: Path, rows: Sequence[dict[str, Any]]) -> Check:
    path = write_triples(tmp_path / "rows.parquet", rows)
    return pi_provenance.check(inputs.model_copy(update={"triples": (path,)}))


def the_finding(check: Check, severity: Severity, said: str) -> None:
    (finding,) = check.findings
    assert (finding.severity, check.status) == (
        severity,
        Status.FAILED if severity is Severity.LEAK else Status.INCONCLUSIVE,
    )
    assert said in finding.title


def test_pi_of_training_instances_passes(inputs: AuditInputs, tmp_path: Path) -> None:
    made = [GoldPatchSource().extract(one) for one in TRAIN]
    made += [pi_record(one, SourceName.CALL_GRAPH, CALL_GRAPH) for one in TRAIN]
    made += [pi_record(one, SourceName.TEST_MANIFEST, one.test_patch) for one in TRAIN]
    check = of_pi(inputs, tmp_path, *made)
    assert check.status is Status.PASSED
    assert check.figures["pi_records"] == 24
    assert check.figures["fields_traced_to_the_training_suite"] == 8 + 16


def test_pi_of_an_evaluation_instance(inputs: AuditInputs, tmp_path: Path) -> None:
    check = of_pi(inputs, tmp_path, pi_record(EVALUATION[0], SourceName.CALL_GRAPH, CALL_GRAPH))
    the_finding(check, Severity.LEAK, "about an evaluation instance")
    assert check.findings[0].where.endswith("pi.jsonl:1")


def test_pi_of_nobody_known_leaves_it_open(inputs: AuditInputs, tmp_path: Path) -> None:
    (stranger,) = instances(1, first=50)
    check = of_pi(inputs, tmp_path, pi_record(stranger, SourceName.CALL_GRAPH, CALL_GRAPH))
    the_finding(check, Severity.WARNING, "the training suite has not")


@pytest.mark.parametrize(
    ("source", "tier", "severity"),
    [
        (SourceName.GOLD_PATCH, Tier.DEPLOYABLE, Severity.LEAK),
        (SourceName.CALL_GRAPH, Tier.ORACLE, Severity.WARNING),
    ],
)
def test_a_tier_that_is_not_the_sources(
    inputs: AuditInputs, tmp_path: Path, source: SourceName, tier: Tier, severity: Severity
) -> None:
    check = of_pi(inputs, tmp_path, pi_record(ONE, source, "x", tier=tier))
    the_finding(check, severity, "is called")


def test_a_call_graph_for_the_issue_of_an_evaluation_instance(
    inputs: AuditInputs, tmp_path: Path
) -> None:
    for one, kind in ((ONE, None), (SAME_REPOSITORY, "a field of an evaluation instance")):
        provenance = Provenance(extractor="x/1", inputs={"issue": digest(one.problem_statement)})
        record = pi_record(ONE, SourceName.CALL_GRAPH, CALL_GRAPH, provenance=provenance)
        check = of_pi(inputs, tmp_path, record)
        if kind:
            the_finding(check, Severity.LEAK, kind)
        else:
            assert check.status is Status.PASSED


def test_pi_made_from_other_fields(inputs: AuditInputs, tmp_path: Path) -> None:
    other = TRAIN[1].model_copy(update={"instance_id": ONE.instance_id})
    check = of_pi(inputs, tmp_path, pi_record(other, SourceName.GOLD_PATCH, "x"))
    the_finding(check, Severity.LEAK, "another text than the training row's")
    provenance = Provenance(extractor="x/1", inputs={"test_patch": digest(EVALUATION[0].patch)})
    record = pi_record(ONE, SourceName.TEST_MANIFEST, "x", provenance=provenance)
    check = of_pi(inputs, tmp_path, record)
    the_finding(check, Severity.LEAK, "a field of an evaluation instance")


def test_a_snapshot_that_is_not_the_base_commit(inputs: AuditInputs, tmp_path: Path) -> None:
    note = "snapshot: not the base commit: the release shapes 1.0"
    provenance = Provenance(extractor="call_graph/1", notes=(note,))
    record = pi_record(ONE, SourceName.CALL_GRAPH, CALL_GRAPH, provenance=provenance)
    the_finding(of_pi(inputs, tmp_path, record), Severity.WARNING, "not the base commit")


@pytest.mark.parametrize(
    ("path", "severity"),
    [
        ("tests/test_area.py", Severity.LEAK),  # an evaluation instance's test patch touches it
        ("tests/test_others.py", Severity.WARNING),
    ],
)
def test_a_call_graph_with_test_files(
    inputs: AuditInputs, tmp_path: Path, path: str, severity: Severity
) -> None:
    assert "tests/test_area.py" in SAME_REPOSITORY.test_patch
    text = f"{CALL_GRAPH}\n{path}\n  test_square()"
    check = of_pi(inputs, tmp_path, pi_record(ONE, SourceName.CALL_GRAPH, text))
    the_finding(check, severity, "A call graph has a test file")
    assert path in check.findings[0].evidence


def test_training_rows_of_training_instances_pass(inputs: AuditInputs, tmp_path: Path) -> None:
    rows = [triple(one, SourceName.CALL_GRAPH, CALL_GRAPH) for one in TRAIN]
    rows += [triple(one, SourceName.GOLD_PATCH, one.patch) for one in TRAIN]
    rows += [triple(one, SourceName.TEST_MANIFEST, one.test_patch) for one in TRAIN]
    rows += [triple(one, SourceName.GOLD_PATCH, "") for one in TRAIN]
    check = of_rows(inputs, tmp_path, rows)
    assert check.status is Status.PASSED
    assert check.figures["training_rows"] == 32
    assert check.figures["deployable_texts_compared"] == 16


@pytest.mark.parametrize("text", [ONE.patch, added(ONE.patch), f"hint:\n{added(ONE.patch)}"])
def test_the_solution_in_a_deployable_row(inputs: AuditInputs, tmp_path: Path, text: str) -> None:
    row = triple(ONE, SourceName.CALL_GRAPH, f"{CALL_GRAPH}\n{text}")
    check = of_rows(inputs, tmp_path, [row])
    the_finding(check, Severity.LEAK, "Deployable training rows hold the instance's gold patch")
    assert check.findings[0].where.endswith("rows.parquet: row 1")


def test_tests_that_say_what_the_fix_says_are_no_solution(tmp_path: Path) -> None:
    tests = ONE.patch.replace("src/shapes/area", "tests/test_area")
    train = ONE.model_copy(update={"test_patch": tests})
    inputs = AuditInputs(
        evaluation=write_suite(tmp_path / "evaluation.jsonl", EVALUATION),
        train=write_suite(tmp_path / "train.jsonl", [train]),
    )
    row = triple(train, SourceName.TEST_MANIFEST, added(tests))
    assert of_rows(inputs, tmp_path, [row]).status is Status.PASSED


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (triple(EVALUATION[0], SourceName.CALL_GRAPH, "x"), "about an evaluation instance"),
        (
            triple(ONE, SourceName.GOLD_PATCH, "x", pi_tier="deployable"),
            "an oracle source deployable",
        ),
        (triple(ONE, SourceName.CALL_GRAPH, "x", base_commit="f" * 40), "another commit"),
    ],
)
def test_training_rows_that_leak(
    inputs: AuditInputs, tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    the_finding(of_rows(inputs, tmp_path, [row]), Severity.LEAK, said)


def test_files_of_another_kind_are_refused(inputs: AuditInputs, tmp_path: Path) -> None:
    path = tmp_path / "pi.jsonl"
    path.write_text('{"instance_id": "x"}\n')
    with pytest.raises(AuditError, match=r"pi.jsonl:1: no PI record"):
        pi_provenance.check(inputs.model_copy(update={"pi": (path,)}))
    with pytest.raises(AuditError, match="no Parquet file"):
        pi_provenance.check(inputs.model_copy(update={"triples": (path,)}))
    assert pi_provenance.check(inputs).status is Status.NOT_RUN
