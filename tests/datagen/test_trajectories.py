"""A data set of attempts has the recorded tokens, and counts what it leaves out."""

import fcntl
import os
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from harness.datagen.trajectories import make_trajectories
from harness.datagen.trajectories_report import TrajectoriesError
from harness.datagen.trajectories_select import Candidate, select
from harness.datagen.triples_gate import make_gate
from harness.records import Verdict
from tests.conftest import make_instance
from tests.datagen.trajectories import graded_run
from trainers.data.runs import read_runs

OPEN = make_gate(None, None, strict=False, waived=True, rows=None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return graded_run(tmp_path / "r")


def load(folder: Path, config: str, cache: Path) -> list[dict[str, Any]]:
    found = datasets.load_dataset(str(folder), config, split="train", cache_dir=str(cache))
    return list(found)


def test_every_attempt_is_a_row_or_counted(run: Path, tmp_path: Path) -> None:
    """And `datasets` reads the rows."""
    report = make_trajectories([run], OPEN, tmp_path / "set")
    assert report.found == 6
    assert report.left_out == {"infrastructure_failure": 1, "not_graded": 1}
    assert report.duplicates == 1
    assert report.calls_left_out == {"duplicate_attempt": 2, "no_token_ids": 2}
    rows = {
        one: load(tmp_path / "set", one, tmp_path / "hf")
        for one, file in report.configs.items()
        if file.rows
    }
    assert {name: len(found) for name, found in rows.items()} == {
        "attempts": 4,
        "turns": 4,
        "sequences": 4,
        "sft": 2,
    }
    assert [one["duplicate_of"] for one in rows["attempts"]].count(rows["attempts"][1]["id"]) == 1
    assert rows["turns"][0]["sampled_ids"] == [7, 8]
    assert rows["turns"][0]["loss_mask"] == [False] * 3 + [True] * 2
    assert {one["attempt"] for one in rows["sft"]} == {rows["attempts"][0]["id"]}
    assert sum(report.sft_left_out.values()) + report.sft_attempts == report.attempts
    assert sum(report.preferences_left_out.values()) == report.attempts


def test_sequences_are_what_training_reads(run: Path, tmp_path: Path) -> None:
    """Same names, ids and sampled positions; the attempt without ids is apart."""
    for part in ("attempts", "grades"):
        (run / part / make_instance().instance_id / "5").rename(tmp_path / f"{part}-5")
    make_trajectories([run], OPEN, tmp_path / "set")
    rows = {
        one["id"]: one for one in pq.read_table(tmp_path / "set/data/sequences.parquet").to_pylist()
    }
    read = {one.name: one for one in read_runs([run], "student", max_tokens=100).trajectories}
    assert rows
    for name, row in rows.items():
        assert row["input_ids"] == read[name].ids.tolist()
        masked = [at for at, sampled in enumerate(row["loss_mask"]) if sampled]
        assert masked == read[name].positions.tolist()


def test_same_runs_same_bytes_and_a_dry_run_counts_alike(run: Path, tmp_path: Path) -> None:
    """Also after a try that was killed."""
    (tmp_path / ".b.draft" / "data").mkdir(parents=True)
    dry = make_trajectories([run], OPEN, tmp_path / "a", dry_run=True)
    assert not (tmp_path / "a").exists()
    for name in "ab":
        made = make_trajectories([run], OPEN, tmp_path / name)
    files = [one.relative_to(tmp_path / "a") for one in (tmp_path / "a").rglob("*.*")]
    assert len(files) == 7
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files
    )
    assert {k: v.rows for k, v in made.configs.items()} == {
        k: v.rows for k, v in dry.configs.items()
    }
    with pytest.raises(TrajectoriesError, match="exists"):
        make_trajectories([run], OPEN, tmp_path / "a")


def test_what_the_filter_refuses_is_counted(run: Path, tmp_path: Path) -> None:
    gate = make_gate(None, str(run / "instances.jsonl"), strict=False, waived=False, rows=None)
    report = make_trajectories([run], gate, tmp_path / "set")
    assert report.attempts == 0
    assert report.left_out == {"filter:base_commit": 6}
    assert report.gate.kind == "evaluation"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{pi: given, pi_source: gold_patch}", "pi:gold_patch"),
        ("{policy: gold}", "policy:gold"),
        ("{pi: empty}", ""),
    ],
)
def test_what_was_shown_the_solution_is_no_sft(
    run: Path, tmp_path: Path, options: str, said: str
) -> None:
    with (run / "run.yaml").open("a") as file:
        file.write(f"method: {{agent: {{kind: repair, options: {options}}}}}\n")
    report = make_trajectories([run], OPEN, tmp_path / "set")
    assert report.configs["sft"].rows == (0 if said else 2)
    assert report.configs["turns"].rows == 4
    assert report.privileged == ({said: 4} if said else {})
    rows = pq.read_table(tmp_path / "set/data/attempts.parquet").to_pylist()
    assert {one["privileged"] for one in rows} == {said}


def test_a_set_has_one_writer(run: Path, tmp_path: Path) -> None:
    (tmp_path / ".set.draft").mkdir()
    folder = os.open(tmp_path / ".set.draft", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(TrajectoriesError, match="another command"):
        make_trajectories([run], OPEN, tmp_path / "set")
    os.close(folder)
    make_trajectories([run], OPEN, tmp_path / "set")


def candidate(name: str, verdict: str, key: str = "", sequences: int = 1, prompt: str = "p") -> Any:
    return Candidate(name, "i", key or name, Verdict(verdict), sequences, prompt)


def test_an_attempt_that_was_shown_the_solution_stands_for_no_other() -> None:
    shown = Candidate("a", "i", "same", Verdict.RESOLVED, 1, "p", privileged=True)
    found = select([shown, candidate("b", "resolved", key="same")], per_instance=1, pairs=1)
    assert found.sft == {"b"}
    assert found.duplicate_of == {"a": "b"}


def test_pairs_share_a_prompt_and_no_attempt() -> None:
    """Duplicates, doubtful verdicts, and attempts of several sequences are in none."""
    found = select(
        [
            candidate("a", "resolved"),
            candidate("b", "resolved"),
            candidate("c", "unresolved"),
            candidate("d", "empty_patch", prompt="q"),
            candidate("e", "timed_out"),
            candidate("f", "unresolved", sequences=2),
            candidate("g", "resolved", key="same"),
            candidate("h", "unresolved", key="same"),
            candidate("i", "resolved", key="a"),
        ],
        per_instance=1,
        pairs=4,
    )
    assert found.pairs == (("a", "c"),)
    assert found.sft == {"a"}
    assert found.duplicate_of == {"h": "g", "i": "a"}
    assert found.sft_left_out == {
        "surplus": 1,
        "not_resolved": 4,
        "same_content_other_verdict": 1,
        "duplicate": 2,
    }
    assert found.pairs_left_out == {
        "no_partner": 2,
        "timed_out": 1,
        "several_sequences": 1,
        "same_content_other_verdict": 1,
        "duplicate": 2,
    }
