"""What of a pipeline is done: one small file for each finished job."""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from harness.config import ConfigError
from harness.pipeline.manifest import Job
from harness.records import Record


class Standing(StrEnum):
    """Where a job stands."""

    DONE = "done"
    CHANGED = "changed"  # done, but its command, a file it reads, or a job before it is another now
    OPEN = "open"


class Inputs(Record):
    """What decides the result of a job: reads: digests of files; needs: of finished jobs."""

    command: tuple[str, ...]
    reads: dict[str, str]
    needs: dict[str, str]


class Done(Record):
    """What is remembered of a finished job. seconds: of wall clock; cpu_seconds: with children."""

    inputs: Inputs
    ended_at: str
    seconds: float
    cpu_seconds: float


class State:
    """The finished jobs of a pipeline in `out`."""

    def __init__(self, out: Path, jobs: Sequence[Job]) -> None:
        self._out = out
        self._jobs = {job.name: job for job in jobs}

    def log(self, job: Job) -> Path:
        """Where a job's output goes."""
        return self._out / "logs" / f"{job.name}.log"

    def done(self, job: Job) -> Done | None:
        """What is remembered of a job. Raises ConfigError for a damaged file."""
        path = self._path(job.name)
        try:
            return Done.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise ConfigError(
                f"{path} is damaged: remove it, and the job runs again ({error})"
            ) from None

    def standing(self, job: Job) -> Standing:
        """Where a job stands now."""
        done = self.done(job)
        if done is None or not all(path.exists() for path in job.makes):
            return Standing.OPEN
        before = (self.standing(self._jobs[name]) for name in job.needs)
        same = all(one is Standing.DONE for one in before) and done.inputs == self.inputs(job)
        return Standing.DONE if same else Standing.CHANGED

    def change(self, job: Job) -> str:
        """What is other than when a job ran, in words."""
        done, now = self.done(job), self.inputs(job)
        if done is None or done.inputs.command != now.command:
            return f"its command was {' '.join(done.inputs.command if done else ())}"
        files = sorted(done.inputs.reads.items() ^ now.reads.items())
        if files:
            return f"{files[0][0]} has changed"
        jobs = [name for name in job.needs if self.standing(self._jobs[name]) is not Standing.DONE]
        jobs += [name for name, _ in sorted(done.inputs.needs.items() ^ now.needs.items())]
        return f"{jobs[0]}, which it needs, is another"

    def inputs(self, job: Job) -> Inputs:
        """What decides a job's result, as it is now."""
        return Inputs(
            command=job.command,
            reads={str(path): _sha256(path) for path in job.reads},
            needs={name: _sha256(self._path(name)) for name in job.needs},
        )

    def record(self, job: Job, done: Done) -> None:
        """Remember that a job is finished."""
        path = self._path(job.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(done.model_dump_json(indent=1) + "\n", encoding="utf-8")
        draft.replace(path)

    def put_aside(self, job: Job) -> Path:
        """Move what a job made out of the way, so that it can run again; nothing is deleted."""
        number = 1
        while (aside := self._out / "replaced" / f"{job.name}.{number}").exists():
            number += 1
        aside.mkdir(parents=True)
        for path in (*job.makes, self._path(job.name), self.log(job)):
            if path.exists():
                path.rename(aside / path.name)
        return aside

    def _path(self, name: str) -> Path:
        return self._out / "stages" / f"{name}.json"


def _sha256(path: Path) -> str:
    """Digest of a file; empty where it is not there (yet)."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
