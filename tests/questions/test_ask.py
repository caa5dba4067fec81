"""`harness ask` from questions to scores, resumed, and read by what reads runs."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.cli.errors import USER_ERRORS
from harness.config import ConfigError
from harness.questions.prompts import MATH
from harness.records import Grade, InstanceId, RunFolder, StopReason
from harness.reports.load import load_run
from harness.rollouts.finish import load_scored
from harness.rollouts.lock import LockMismatchError
from harness.scoring import Scores
from tests.agents.scripted_endpoint import ScriptedEndpoint
from tests.questions.conftest import Asks
from trainers.data.runs import read_runs

pytest.importorskip("math_verify")

ANSWERS = {
    "17 + 25": "It is 42.\nAnswer: 42",
    "3x - 7": "Answer: $x = 9$",
    "x^2 - 5x": "\\boxed{3, 2}",
    "360": "Answer: 23",
}
FEW = ("sum-of-two-numbers", "linear-equation", "roots-of-a-quadratic", "divisors-of-360")
SOME = tuple(f"sample-math-{name}" for name in FEW)
INTEGERS = (SOME[0], SOME[3])  # compared without starting math-verify


def test_a_run_of_mathematics(asks: Asks, served: ScriptedEndpoint, tmp_path: Path) -> None:
    summary = asks(
        "sample-math", ANSWERS, questions=SOME, seeds=(0, 1), temperature=0.9, max_tokens=77
    )
    assert (summary["attempts"], summary["resolved"]) == (8, 6)
    assert summary["pass_at_1"]["value"] == 0.75
    folder = RunFolder(tmp_path / "run")
    scores = Scores.model_validate_json(folder.scores.read_bytes())
    assert scores.pass_at_1 is not None
    assert scores.pass_at_1.bootstrap.low < 0.75 < scores.pass_at_1.bootstrap.high
    assert {group.name for group in scores.by_repository} == {
        "sample-math/arithmetic", "sample-math/algebra", "sample-math/number-theory",
    }  # fmt: skip
    assert [row.seed for row in load_scored(folder)] == [0, 1] * 4

    request = served.requests[0]
    assert request["messages"][0]["content"].startswith(MATH.split("{question}")[0])
    assert (request["temperature"], request["max_tokens"]) == (0.9, 77)
    lock = json.loads(folder.lock.read_bytes())
    assert lock["grader"].startswith("questions-1+math-verify-")
    wrong = folder.grade(InstanceId(SOME[-1]), 0)
    assert Grade.model_validate_json((wrong / "grade.json").read_bytes()).reason == (
        "the answer '23' is not '24'"
    )
    assert b"reference: 24" in (wrong / "eval.log").read_bytes()


def test_what_reads_runs_reads_it(asks: Asks, tmp_path: Path) -> None:
    asks("sample-math", ANSWERS, questions=INTEGERS)
    folder = RunFolder(tmp_path / "run")
    run = load_run(folder)
    assert (run.problems, len(run.entries)) == ((), 2)
    page = folder.report.read_text(encoding="utf-8")
    assert SOME[3] in page
    data = read_runs([folder.root], "student", max_tokens=4096)
    assert [one.group for one in data.trajectories] == sorted(INTEGERS)
    for one in data.trajectories:
        assert one.outcome == int(one.group == SOME[0])
        (turn,) = one.turns
        said = bytes(one.ids[turn.start : turn.end].tolist()).decode()
        assert said in ANSWERS.values()
        assert len(one.log_probs) == len(one.ids)


def test_a_run_of_programs(asks: Asks, tmp_path: Path) -> None:
    program = "```python\nprint(sum(map(int, input().split())))\n```"
    ids = ("sample-code-sum-of-two-numbers", "sample-code-count-vowels")
    summary = asks("sample-code", {"two integers": program}, questions=ids)
    assert (summary["resolved"], summary["instances"]) == (1, 2)
    lock = json.loads((tmp_path / "run" / "lock.json").read_bytes())
    assert set(lock["images"]) == set(ids)
    reasons = {
        row["grade"]["instance_id"]: row["grade"]["reason"]
        for row in json.loads((tmp_path / "run" / "results.json").read_bytes())["attempts"]
    }
    assert reasons[ids[0]] == "3 of 3 tests passed"
    assert "no closed fenced block" in reasons[ids[1]]


def test_the_same_command_continues(asks: Asks, served: ScriptedEndpoint, tmp_path: Path) -> None:
    asks("sample-math", ANSWERS, questions=INTEGERS)
    before = (tmp_path / "run" / "results.json").read_bytes()
    assert len(served.requests) == 2
    lost = tmp_path / "run" / "grades" / SOME[0]
    for path in sorted(lost.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    with sqlite3.connect(tmp_path / "run" / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE attempts SET state = 'grading' WHERE instance_id = ?", [SOME[0]])
    asks("sample-math", ANSWERS, questions=INTEGERS)
    assert len(served.requests) == 2, "only the grade was made again"
    after = (tmp_path / "run" / "results.json").read_bytes()
    assert _without_times(json.loads(after)) == _without_times(json.loads(before))
    with pytest.raises(LockMismatchError, match=r"decoding\.max_tokens"):
        asks("sample-math", ANSWERS, questions=INTEGERS, max_tokens=99)


def _without_times(results: dict[str, Any]) -> list[Any]:
    return [
        (row["attempt"], row["grade"] | {"timing": None, "tries": None})
        for row in results["attempts"]
    ]


def test_an_answer_that_was_cut_is_graded_and_says_so(asks: Asks, tmp_path: Path) -> None:
    asks("sample-math", {"17 + 25": ("Answer: 42\nand so", "length")}, questions=SOME[:1])
    (row,) = load_scored(RunFolder(tmp_path / "run"))
    assert (row.stop_reason, row.resolved) == (StopReason.TOKEN_CAP, True)


def test_the_rehearsal_is_refused(asks: Asks) -> None:
    with pytest.raises(ConfigError, match="questions need a model"):
        asks("sample-math", {}, profile="rehearsal")


def test_the_command_line() -> None:
    listed = CliRunner().invoke(app, ["ask"])
    assert "sample-math          math  shipped: Twelve questions" in listed.stdout
    wrong = CliRunner().invoke(app, ["ask", "sample-mth"])
    assert isinstance(wrong.exception, USER_ERRORS)
    assert "did you mean 'sample-math'" in str(wrong.exception)
    planned = CliRunner().invoke(app, ["ask", "aime-2024", "--rows", "none.jsonl", "--dry-run"])
    assert "none.jsonl: no such file" in str(planned.exception)
