"""The state of attempts survives crashes and refuses a second process."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.records import InstanceId, RunFolder
from harness.rollouts.ledger import Job, Ledger, RunBusyError, State

JOBS = [Job(instance_id=name, seed=seed) for seed in (0, 1) for name in ("a", "b")]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_attempts_are_added_once_and_counted(folder: RunFolder) -> None:
    with Ledger(folder) as ledger:
        ledger.add(JOBS)
        ledger.move(JOBS[0], State.DONE, "resolved")
        ledger.add(JOBS)
        assert ledger.jobs() == JOBS
        assert ledger.counts() == {State.PENDING: 3, State.DONE: 1}
    with Ledger(folder) as ledger:
        assert ledger.jobs(State.DONE) == [JOBS[0]]


def test_an_unknown_attempt_is_refused(folder: RunFolder) -> None:
    with Ledger(folder) as ledger, pytest.raises(KeyError, match="c seed 0"):
        ledger.move(Job(instance_id="c", seed=0), State.DONE)


def test_recovery_keeps_what_is_complete_and_repeats_the_rest(folder: RunFolder) -> None:
    graded, rolled, lost, untouched = JOBS
    with Ledger(folder) as ledger:
        ledger.add(JOBS)
        for job, state in ((graded, State.GRADING), (rolled, State.GRADING), (lost, State.ROLLING)):
            ledger.move(job, state)
        for job in (graded, rolled):
            attempt = folder.attempt(InstanceId(job.instance_id), job.seed)
            attempt.mkdir(parents=True)
            (attempt / "attempt.json").write_text("{}")
        grade = folder.grade(InstanceId(graded.instance_id), graded.seed)
        grade.mkdir(parents=True)
        (grade / "grade.json").write_text("{}")
        assert ledger.recover(folder) == 3
        assert ledger.jobs(State.DONE) == [graded]
        assert ledger.jobs(State.ROLLED) == [rolled]
        assert ledger.jobs(State.PENDING) == [lost, untouched]


def test_a_run_has_one_process(folder: RunFolder) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom harness.records import RunFolder\n"
        "from harness.rollouts.ledger import Ledger\n"
        f"ledger = Ledger(RunFolder(Path({str(folder.root)!r})))\nprint('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunBusyError, match=f"process {holder.pid}"):
            Ledger(folder)
        holder.kill()
        holder.wait()
    Ledger(folder).close()


def test_the_ledger_is_readable_while_it_is_written(folder: RunFolder) -> None:
    with Ledger(folder) as ledger:
        ledger.add(JOBS)
        with sqlite3.connect(f"file:{folder.ledger}?mode=ro", uri=True) as reader:
            assert reader.execute("SELECT COUNT(*) FROM attempts").fetchone() == (4,)
