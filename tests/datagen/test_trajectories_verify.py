"""A row of a data set of attempts that is wrong or missing is found."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.datagen.trajectories import make_trajectories
from harness.datagen.trajectories_verify import verify_trajectories
from harness.datagen.triples_gate import make_gate
from tests.conftest import make_instance
from tests.datagen.trajectories import Turn, grade, graded_run, write_run

OPEN = make_gate(None, None, strict=False, waived=True, rows=None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return graded_run(tmp_path / "r")


@pytest.mark.parametrize(
    ("config", "column", "wrong"),
    [
        ("turns", "sampled_ids", [1]),
        ("turns", "prompt_ids", [1]),
        ("turns", "loss_mask", [True]),
        ("sequences", "input_ids", [1, 2, 1, 9]),
        ("sequences", "loss_mask", [False, False, False, False]),
        ("sft", "input_ids", [1]),
        ("attempts", "verdict", "timed_out"),
        ("attempts", "patch", "?"),
        ("turns", "finish_reason", "length"),
        ("turns", "turn", 1),
        ("sequences", "messages", "[]"),
        ("sft", "log_probs", [0.0] * 4),
    ],
)
def test_verify_finds_a_changed_row(
    run: Path, tmp_path: Path, config: str, column: str, wrong: object
) -> None:
    """Though the manifest says that the file is right."""
    made = tmp_path / "set"
    make_trajectories([run], OPEN, made)
    report = verify_trajectories(made, [run], tokenizer=None)
    assert (report.wrong, report.tokens) == (0, 5)
    assert report.rows["sequences"] == 4
    path = made / "data" / f"{config}.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[-1][column] = wrong
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    assert verify_trajectories(made, [run], tokenizer=None).wrong >= 2
    manifest = json.loads((made / "manifest.json").read_text())

    manifest["configs"][config]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (made / "manifest.json").write_text(json.dumps(manifest))
    assert verify_trajectories(made, [run], tokenizer=None).wrong >= 1


@pytest.mark.parametrize(
    ("config", "missing"),
    [("attempts", 1), ("turns", 1), ("sequences", 1), ("sft", 1), ("sft", 2)],
)
def test_verify_finds_a_missing_row(run: Path, tmp_path: Path, config: str, missing: int) -> None:
    """Though the manifest counts what is left."""
    made = tmp_path / "set"
    make_trajectories([run], OPEN, made)
    path = made / "data" / f"{config}.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(missing), path)
    manifest = json.loads((made / "manifest.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest["configs"][config] = {"rows": len(table) - missing, "sha256": digest}
    (made / "manifest.json").write_text(json.dumps(manifest))
    assert verify_trajectories(made, [run], tokenizer=None).wrong >= 1


def test_verify_finds_an_attempt_that_the_set_lacks(run: Path, tmp_path: Path) -> None:
    make_trajectories([run], OPEN, tmp_path / "set")
    (run / "attempts" / make_instance().instance_id / "9").mkdir()
    assert verify_trajectories(tmp_path / "set", [run], tokenizer=None).wrong == 1


def test_verify_finds_a_pair_the_wrong_way_round(tmp_path: Path) -> None:
    instance = make_instance()
    attempts = [(instance, seed, [Turn("a", ids=[7 + seed])]) for seed in range(2)]
    run = write_run(tmp_path / "r", attempts)
    for seed, verdict in enumerate(("resolved", "unresolved")):
        grade(run, instance.instance_id, seed, verdict)
    made = tmp_path / "set"
    assert make_trajectories([run], OPEN, made).configs["preferences"].rows == 1
    assert verify_trajectories(made, [run], tokenizer=None).wrong == 0
    path = made / "data" / "preferences.parquet"
    table = pq.read_table(path)
    sides = {"chosen": "rejected", "rejected": "chosen"}
    names = [
        name.replace(side, sides[side]) if (side := name.split("_")[0]) in sides else name
        for name in table.column_names
        if name != "rejected_verdict"
    ]
    swapped = table.drop_columns(["rejected_verdict"]).rename_columns(names)
    verdict = table["rejected_verdict"]
    swapped = swapped.append_column("rejected_verdict", verdict).select(table.column_names)
    pq.write_table(swapped, path)
    report = verify_trajectories(made, [run], tokenizer=None)
    assert "another outcome" in " ".join(report.problems)
