"""The state of every attempt of a run, in one SQLite file with one writer."""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from harness.records import InstanceId, Record, RunFolder


class State(StrEnum):
    """Where an attempt stands. A crash moves `rolling` and `grading` one step back."""

    PENDING = "pending"
    ROLLING = "rolling"
    ROLLED = "rolled"
    GRADING = "grading"
    DONE = "done"


class Job(Record):
    """One attempt to make: an instance with a seed."""

    instance_id: str
    seed: int

    @property
    def id(self) -> InstanceId:
        """The instance's id, typed."""
        return InstanceId(self.instance_id)


class RunBusyError(RuntimeError):
    """Another process is working on the run."""


_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    instance_id TEXT NOT NULL,
    seed INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (instance_id, seed)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    instance_id TEXT NOT NULL,
    seed INTEGER NOT NULL,
    state TEXT NOT NULL,
    note TEXT NOT NULL,
    at REAL NOT NULL,
    pid INTEGER NOT NULL
);
"""


class Ledger:
    """Opens (or makes) a run's ledger and holds the run's lock until closed.

    Threads of this process may share it. Raises RunBusyError when another process holds it.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._lock = _hold(folder.root / ".lock")
        self._db = sqlite3.connect(folder.ledger, isolation_level=None, check_same_thread=False)
        self._turn = threading.Lock()
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add attempts that are not there yet, as pending."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?)",
                [(job.instance_id, job.seed, State.PENDING) for job in jobs],
            )

    def move(self, job: Job, state: State, note: str = "") -> None:
        """Record an attempt's new state."""
        with self._turn, self._db:
            self._db.execute("BEGIN")
            changed = self._db.execute(
                "UPDATE attempts SET state = ? WHERE instance_id = ? AND seed = ?",
                (state, job.instance_id, job.seed),
            ).rowcount
            if changed != 1:
                raise KeyError(f"{job.instance_id} seed {job.seed} is not in the ledger")
            self._db.execute(
                "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)",
                (job.instance_id, job.seed, state, note, time.time(), os.getpid()),
            )

    def jobs(self, *states: State) -> list[Job]:
        """The attempts in any of these states (all, without), in a fixed order."""
        wanted = states or tuple(State)
        marks = ", ".join("?" * len(wanted))
        rows = self._db.execute(
            f"SELECT instance_id, seed FROM attempts WHERE state IN ({marks}) "  # noqa: S608
            "ORDER BY seed, instance_id",
            wanted,
        )
        return [Job(instance_id=instance_id, seed=seed) for instance_id, seed in rows]

    def counts(self) -> dict[State, int]:
        """How many attempts are in each state."""
        rows = self._db.execute("SELECT state, COUNT(*) FROM attempts GROUP BY state")
        return {State(state): count for state, count in rows}

    def recover(self, folder: RunFolder) -> int:
        """Settle what a crash left in flight; returns how many attempts that were.

        A finished folder counts, whatever the ledger had time to say: attempts and grades
        are renamed into place when complete. Everything else starts that step again.
        """
        unfinished = self.jobs(State.ROLLING, State.GRADING)
        for job in unfinished:
            if (folder.grade(job.id, job.seed) / "grade.json").is_file():
                self.move(job, State.DONE, "found complete after a crash")
            elif (folder.attempt(job.id, job.seed) / "attempt.json").is_file():
                self.move(job, State.ROLLED, "found complete after a crash")
            else:
                self.move(job, State.PENDING, "lost in a crash")
        return len(unfinished)

    def close(self) -> None:
        """Release the run."""
        self._db.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _hold(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise RunBusyError(
            f"{path.parent} is in use by process {holder}: wait for it or stop it"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
