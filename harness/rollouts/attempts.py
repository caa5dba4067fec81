"""One attempt from start to grade, each step on disk when it is complete."""

import os
import shutil
from pathlib import Path

from harness.records import Attempt, Grade, RunFolder
from harness.rollouts.executors.base import Executor
from harness.rollouts.ledger import Job, Ledger, State
from harness.rollouts.work import read_patch


class AttemptRunner:
    """Has the attempts of one run made and graded, and lands them. Called from several threads."""

    def __init__(self, *, folder: RunFolder, ledger: Ledger, executor: Executor) -> None:
        self._folder = folder
        self._ledger = ledger
        self._executor = executor

    def run(self, job: Job) -> Grade:
        """Make the attempt unless an earlier process has, and grade it."""
        attempt_folder = self._folder.attempt(job.id, job.seed)
        if not (attempt_folder / "attempt.json").is_file():
            self._ledger.move(job, State.ROLLING)
            draft = _draft_folder(attempt_folder)
            self._executor.make(job, draft)
            draft.rename(attempt_folder)
            self._ledger.move(job, State.ROLLED)
        attempt = Attempt.model_validate_json((attempt_folder / "attempt.json").read_bytes())
        self._ledger.move(job, State.GRADING)
        grade_folder = self._folder.grade(job.id, job.seed)
        draft = _draft_folder(grade_folder)
        grade = self._executor.grade(job, attempt, read_patch(attempt_folder), draft)
        draft.rename(grade_folder)
        self._ledger.move(job, State.DONE, grade.verdict)
        return grade


def remove_drafts(folder: RunFolder) -> None:
    """Remove what crashed attempts left half written."""
    for parent in ("attempts", "grades"):
        for draft in (folder.root / parent).glob("*/.*"):
            shutil.rmtree(draft)


def _draft_folder(destination: Path) -> Path:
    return destination.parent / f".{destination.name}.{os.getpid()}"
