"""Runs on disk become trajectories; what cannot be trusted is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.records import RunFolder, Verdict
from tests.trainers.data.runs_on_disk import call, conversation, write_attempt, write_run
from trainers.data.errors import DataError
from trainers.data.runs import read_runs


def test_attempts_become_trajectories(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", instances=2, seeds=2, tokenizer="abc")
    data = read_runs([run], "student", max_tokens=1000)
    assert [one.name for one in data.trajectories] == [
        "one/owner__repo-0/0#0",
        "one/owner__repo-0/1#0",
        "one/owner__repo-1/0#0",
        "one/owner__repo-1/1#0",
    ]
    assert [one.outcome for one in data.trajectories] == [1, 0, 1, 0]
    assert [one.group for one in data.trajectories][::2] == ["owner__repo-0", "owner__repo-1"]
    assert data.tokenizers == {str(run): "abc"}
    last = data.trajectories[-1]
    calls = conversation(1001, turns=2, length=11)
    assert last.ids.tolist() == [*calls[1].prompt_ids, *calls[1].sampled_ids]
    assert last.ids[last.positions].tolist() == [*calls[0].sampled_ids, *calls[1].sampled_ids]
    recorded = [*calls[0].logprobs, *calls[1].logprobs]
    np.testing.assert_allclose(last.log_probs[last.positions], recorded, rtol=1e-6)
    assert [turn[2:] for turn in last.turns] == [(0.7, 0.95, 1), (0.7, 0.95, 2)]


def test_what_is_no_turn_or_no_answer_is_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    calls = [
        call(1, [1, 2], [3]),
        call(2, [5, 6], [7], turn=None),
        call(3, [5, 6], [7], status="cancelled"),
        call(4, [5, 6], [], ids_from="none", status="failed"),
    ]
    write_attempt(run, "i", 0, calls, None)
    (one,) = read_runs([run.root], "student", max_tokens=100).trajectories
    assert one.ids.tolist() == [1, 2, 3]
    assert one.outcome is None


def test_attempts_that_the_infrastructure_failed_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_attempt(run, "i", 0, [call(1, [1], [2])], Verdict.INFRA_FAILURE)
    write_attempt(run, "i", 1, [call(1, [1], [])], Verdict.RESOLVED)
    data = read_runs([run.root], "student", max_tokens=100)
    assert data.trajectories == []
    assert data.counts["attempts left out: infrastructure failure"] == 1
    assert data.counts["sequences left out: no sampled token"] == 1


@pytest.mark.parametrize("origin", ["retokenised", "none"])
def test_ids_that_are_not_the_endpoints_are_refused(tmp_path: Path, origin: str) -> None:
    run = make_run(tmp_path)
    path = write_attempt(run, "i", 0, [call(7, [1], [2], ids_from=origin)], None)
    with pytest.raises(DataError, match=rf"{path}: turn 7 has token ids from '{origin}'"):
        read_runs([run.root], "student", max_tokens=100)


def test_uneven_log_probabilities_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_attempt(run, "i", 0, [call(1, [1], [2, 3], logprobs=[-1.0])], None)
    with pytest.raises(DataError, match="1 log-probabilities for 2 sampled tokens"):
        read_runs([run.root], "student", max_tokens=100)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = write_attempt(run, "i", 0, [call(1, [1], [2])], Verdict.RESOLVED)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{path}: not a readable record"):
        read_runs([run.root], "student", max_tokens=100)
    path.write_bytes(whole)
    grade = path.parents[3] / "grades" / "i" / "0" / "grade.json"
    grade.write_text(json.dumps({"verdict": "resolved"}))
    with pytest.raises(DataError, match=rf"{grade}: not a grade"):
        read_runs([run.root], "student", max_tokens=100)
    run.lock.write_text("{")
    with pytest.raises(DataError, match=rf"{run.lock}: not a run's lock"):
        read_runs([run.root], "student", max_tokens=100)
    run.config.write_text("[]")
    with pytest.raises(DataError, match=rf"{run.config}: not a run's configuration"):
        read_runs([run.root], "student", max_tokens=100)


def test_long_sequences_are_cut_and_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_attempt(run, "i", 0, [call(1, [1, 2], [3, 4, 5])], None)
    data = read_runs([run.root], "student", max_tokens=4)
    assert data.trajectories[0].ids.tolist() == [1, 2, 3, 4]
    assert data.trajectories[0].sampled_tokens == 2
    assert data.counts["sequences cut to max_tokens"] == 1


def test_folders_without_runs_and_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run in"):
        read_runs([tmp_path], "student", max_tokens=4)
    paths = [write_run(tmp_path / place / "same", instances=1) for place in ("a", "b")]
    with pytest.raises(DataError, match="are both the run 'same'"):
        read_runs(paths, "student", max_tokens=4)


def make_run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.root.mkdir()
    run.config.write_text("id: run\n")
    return run
