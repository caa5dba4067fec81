"""A run killed at ten random moments ends as an undisturbed one, and repeats no attempt."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.records import Grade, RunFolder
from harness.scoring import Scores
from tests.real import leftovers, real_instance

pytestmark = pytest.mark.slow
KILLS = 10


def start(runs: Path, name: str) -> subprocess.Popen[bytes]:
    """The command that users type, on real instances."""
    command = [sys.executable, "-c", "from harness.cli import main; main()", "eval", "-m", "gold"]
    command += ["-s", "pypi-mini/test", "--no-cache", "--runs", str(runs), "--run-id", name]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()


def results(folder: RunFolder) -> dict[str, Any]:
    """Everything of a run but durations."""
    scores = Scores.model_validate_json(folder.scores.read_bytes())
    grades = {
        path.parent.parent.name: Grade.model_validate_json(path.read_bytes())
        for path in folder.root.glob("grades/*/0/grade.json")
    }
    return {
        "predictions": folder.predictions.read_bytes(),
        "pass_at_1": scores.pass_at_1,
        "verdicts": scores.verdicts,
        "ungraded": scores.ungraded,
        "grades": {
            name: (grade.verdict, grade.reason, grade.tests, grade.patch_sha256, grade.cache_key)
            for name, grade in grades.items()
        },
        "lock": json.loads(folder.lock.read_bytes()),
    }


def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    provider = real_instance("process").provider
    began = time.monotonic()
    finish(start(tmp_path, "calm"))
    seconds = time.monotonic() - began
    calm, killed = RunFolder(tmp_path / "calm"), RunFolder(tmp_path / "killed")

    moments = random.Random()
    for _ in range(KILLS):
        process = start(tmp_path, "killed")
        time.sleep(moments.uniform(0.1, seconds / 3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(tmp_path, "killed"))

    assert results(killed) == results(calm)
    with sqlite3.connect(killed.ledger) as ledger:
        history = ledger.execute("SELECT instance_id, state FROM history ORDER BY rowid").fetchall()
    for instance in {name for name, _ in history}:
        states = [state for name, state in history if name == instance]
        assert "rolling" not in states[states.index("rolled") :], "an attempt ran twice"
        assert states.index("done") == len(states) - 1, "a finished attempt was touched again"
    assert not list(killed.root.glob("*/*/.*")), "drafts are left"
    assert leftovers(provider, "killed-gold") == []
