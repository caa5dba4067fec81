"""The filter asked again: tampered manifests, and rows that should not be there."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.leakage import filter_check, repository_overlap
from harness.leakage.filter import filter_rows, write_filtered
from harness.leakage.filter_manifest import FilterError
from harness.leakage.filter_rows import open_rows
from harness.leakage.findings import Check, Severity, Status
from harness.leakage.inputs import AuditInputs
from pi_extractors.records import SourceName
from tests.leakage.audit_inputs import (
    instances,
    pi_record,
    triple,
    write_pi,
    write_suite,
    write_triples,
)

EVALUATION = instances(4)
CLEAN = instances(6, first=10)
BAD = CLEAN[0].model_copy(
    update={"instance_id": "other__name-1", "base_commit": EVALUATION[0].base_commit}
)


@pytest.fixture
def inputs(tmp_path: Path) -> AuditInputs:
    """A training suite with one row that must go, filtered."""
    train = write_suite(tmp_path / "train.jsonl", [*CLEAN[1:], BAD])
    evaluation = write_suite(tmp_path / "evaluation.jsonl", EVALUATION)
    rows = open_rows(train)
    write_filtered(rows, filter_rows(rows, open_rows(evaluation)), tmp_path)
    return AuditInputs(evaluation=evaluation, train=train, filter_manifest=tmp_path / "filter.json")


def leaks(check: Check) -> list[str]:
    return [one.title for one in check.findings if one.severity is Severity.LEAK]


def tampered(inputs: AuditInputs, change: Any) -> AuditInputs:
    assert inputs.filter_manifest
    manifest = json.loads(inputs.filter_manifest.read_text())
    change(manifest)
    inputs.filter_manifest.write_text(json.dumps(manifest))
    return inputs


def test_a_true_manifest_passes_for_all_rows_and_for_the_kept_ones(
    inputs: AuditInputs, tmp_path: Path
) -> None:
    check = filter_check.check(inputs)
    assert check.status is Status.PASSED
    assert check.figures["must_be_rejected"] == 1
    kept = inputs.model_copy(update={"train": str(tmp_path / "kept.jsonl")})
    assert filter_check.check(kept).status is Status.PASSED
    assert filter_check.check(kept).figures["must_be_rejected"] == 0


def test_a_row_that_the_manifest_keeps_though_it_must_go(inputs: AuditInputs) -> None:
    def keep(manifest: dict[str, Any]) -> None:
        (gone,) = manifest["rejected"]
        manifest |= {"rejected": [], "rejected_rows": 0, "kept_rows": 6}
        manifest["kept"].append(gone["instance_id"])
        manifest["by_rule"]["base_commit"] = 0

    check = filter_check.check(tampered(inputs, keep))
    assert check.status is Status.FAILED
    assert leaks(check)[0].startswith("Training instance other__name-1 was kept: it has the base")
    assert EVALUATION[0].base_commit in check.findings[0].evidence


def test_a_row_that_was_put_among_the_kept_ones(inputs: AuditInputs, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text(BAD.model_dump_json() + "\n" + path.read_text())
    check = filter_check.check(inputs.model_copy(update={"train": str(path)}))
    assert check.status is Status.FAILED
    assert any("other__name-1 was kept" in one for one in leaks(check))
    assert any("are not those that were filtered" in one for one in leaks(check))


def test_a_manifest_that_calls_all_rows_the_kept_ones(inputs: AuditInputs) -> None:
    check = filter_check.check(
        tampered(inputs, lambda m: m.update(kept_sha256=m["train"]["sha256"]))
    )
    assert any("other__name-1 was kept" in one for one in leaks(check))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["rejected"][0].update(evidence="f" * 40), "another reason is given"),
        (lambda m: m["kept"].reverse(), "other instances are listed as kept"),
        (lambda m: m["train"].update(sha256="0" * 64), "are not those that were filtered"),
    ],
)
def test_a_manifest_that_was_changed(inputs: AuditInputs, change: Any, said: str) -> None:
    check = filter_check.check(tampered(inputs, change))
    assert check.status is Status.FAILED
    assert said in leaks(check)[0]


def test_a_rejected_instance_that_training_used(inputs: AuditInputs, tmp_path: Path) -> None:
    pi = write_pi(tmp_path / "pi.jsonl", [pi_record(BAD, SourceName.GOLD_PATCH, "x")])
    rows = write_triples(tmp_path / "rows.parquet", [triple(BAD, SourceName.CALL_GRAPH, "x")])
    for used in ({"pi": (pi,)}, {"triples": (rows,)}):
        check = filter_check.check(inputs.model_copy(update=used))
        assert leaks(check) == [
            f"Training instance other__name-1 was used for training: "
            f"it has the base commit of evaluation instance {EVALUATION[0].instance_id}"
        ]


def test_without_a_manifest_every_row_counts(inputs: AuditInputs) -> None:
    check = filter_check.check(inputs.model_copy(update={"filter_manifest": None}))
    assert "is among the training rows" in leaks(check)[0]


def test_a_damaged_manifest_is_refused_and_no_training_suite_is_not_run(
    inputs: AuditInputs,
) -> None:
    assert inputs.filter_manifest
    inputs.filter_manifest.write_text("{}")
    with pytest.raises(FilterError, match="field"):
        filter_check.check(inputs)
    alone = inputs.model_copy(update={"train": None})
    assert filter_check.check(alone).status is Status.NOT_RUN
    assert repository_overlap.check(alone).status is Status.NOT_RUN


def test_shared_repositories_are_counted_and_allowed(inputs: AuditInputs) -> None:
    check = repository_overlap.check(inputs)
    assert check.status is Status.PASSED
    (note,) = check.findings
    assert note.severity is Severity.NOTE
    assert "4 of 4 evaluation repositories are in training too, with 5 rows" in note.title
    assert check.figures["shared_repositories"][0] == {
        "repository": "django/django",
        "training_rows": 2,
        "evaluation_instances": 1,
    }


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"base_commit": EVALUATION[1].base_commit}, "base commit"),
        ({"instance_id": EVALUATION[1].instance_id}, "instance id"),
        ({"patch": EVALUATION[1].patch, "repo": "some/fork"}, "gold patch"),
    ],
)
def test_shared_instances_are_leaks(
    inputs: AuditInputs, tmp_path: Path, changes: dict[str, str], kind: str
) -> None:
    bad = CLEAN[0].model_copy(update=changes)
    train = write_suite(tmp_path / "more.jsonl", [*CLEAN[1:], bad])
    check = repository_overlap.check(inputs.model_copy(update={"train": train}))
    assert check.status is Status.FAILED
    assert leaks(check) == [
        f"Training instance {bad.instance_id} has the {kind} of evaluation instance "
        f"{EVALUATION[1].instance_id}"
    ]


def test_shared_repositories_break_a_strict_filter(tmp_path: Path, inputs: AuditInputs) -> None:
    """A manifest says strict, and the training suite has the repositories still."""
    assert inputs.train
    rows, evaluation = open_rows(inputs.train), open_rows(inputs.evaluation)
    write_filtered(rows, filter_rows(rows, evaluation, strict=True), tmp_path)
    assert repository_overlap.check(inputs).status is Status.PASSED
    more = write_suite(tmp_path / "more.jsonl", instances(2, first=20))
    check = repository_overlap.check(inputs.model_copy(update={"train": more}))
    assert check.status is Status.FAILED
    assert "though the filter was strict" in leaks(check)[0]
