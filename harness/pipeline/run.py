"""Running a pipeline: every job when those it needs are done, several at a time."""

import fcntl
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from harness.pipeline.cost import cost_table, lacking_gb, minutes, stage_costs, total
from harness.pipeline.manifest import Job
from harness.pipeline.state import Done, Standing, State
from harness.records.processes import end_with_parent

_TAIL = 2000  # characters of a failed job's log


class PipelineError(Exception):
    """A pipeline cannot go on; the text says where, why, and what to do."""


@dataclass(frozen=True)
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    began: float


def run_pipeline(
    jobs: Sequence[Job],
    out: Path,
    *,
    at_a_time: int,
    only: Sequence[str] = (),
    redo: Sequence[str] = (),
    short_of_disk: bool = False,
    console: Console,
) -> None:
    """Run what is open. A job that is done stays done; one that was killed runs again.

    only: stages; what they need must be done. redo: stages whose results are put aside first, with
    those of all jobs after them. short_of_disk: start although the plan does not fit on the disk.

    Raises PipelineError when a job fails (those at work with it are ended, and continue at the next
    start), when a job was done with something else than the manifest says now, or when the disk is
    too small for what is planned.
    """
    state = State(out, jobs)
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        _put_aside(jobs, state, redo, console)
        wanted = [job for job in jobs if not only or job.stage in only]
        waiting = [job for job in wanted if not _is_done(job, state)]
        _announce(wanted, state, out, short_of_disk, console)
        line = _Line(console, state, len(wanted), waiting)
        finished = {job.name for job in jobs if job not in waiting and _is_done(job, state)}
        running: dict[int, _Running] = {}
        try:
            while waiting or running:
                ready = [job for job in waiting if finished.issuperset(job.needs)]
                for job in ready[: at_a_time - len(running)]:
                    waiting.remove(job)
                    one = _start(job, state)
                    running[one.process.pid] = one
                    console.print(f"{job.name}: started, {state.log(job)}", highlight=False)
                if not running:
                    missing = sorted(set(waiting[0].needs) - finished)
                    raise PipelineError(f"{waiting[0].name} needs {missing[0]}, which is not done")
                pid, status, used = os.wait4(-1, 0)
                if pid not in running:
                    continue
                one = running.pop(pid)
                one.process.returncode = os.waitstatus_to_exitcode(status)
                line.finish(one.job, _end(one, used, state))
                finished.add(one.job.name)
        except BaseException:
            _stop(running)
            raise


def _is_done(job: Job, state: State) -> bool:
    standing = state.standing(job)
    if standing is Standing.CHANGED:
        raise PipelineError(
            f"{job.name} was done, but {state.change(job)}: give the former, or another --out, or "
            f"--redo {job.stage} to run it again"
        )
    return standing is Standing.DONE


def _announce(
    jobs: Sequence[Job], state: State, out: Path, short_of_disk: bool, console: Console
) -> None:
    """Show what is still to be paid for, where the manifest says so, before anything starts."""
    costs = stage_costs(jobs, state)
    whole = total(costs)
    if not whole["gpu_hours"] and not whole["disk_gb"]:
        return
    console.print(cost_table(costs, out))
    lacking = lacking_gb(costs, out)
    if not lacking:
        return
    found = f"{whole['disk_gb']:,.0f} GB are planned, and {lacking:,.0f} GB of them are not free"
    if not short_of_disk:
        raise PipelineError(
            f"{found} in {out}: make room, give another --out, or start all the same with "
            "--short-of-disk; what is done stays done when the disk is full"
        )
    console.print(f"{found}: started all the same", highlight=False)


def _put_aside(jobs: Sequence[Job], state: State, redo: Sequence[str], console: Console) -> None:
    stages = {job.stage for job in jobs}
    for name in redo:
        if name not in stages:
            raise PipelineError(f"no stage {name!r}: there are {', '.join(sorted(stages))}")
    again: set[str] = set()
    for job in jobs:
        if job.stage in redo or again.intersection(job.needs):
            again.add(job.name)
            if state.standing(job) is not Standing.OPEN:
                console.print(f"{job.name}: put aside in {state.put_aside(job)}", highlight=False)


def _start(job: Job, state: State) -> _Running:
    log = state.log(job)
    log.parent.mkdir(parents=True, exist_ok=True)
    program = {"harness": [sys.executable, "-m", "harness"], "python": [sys.executable]}
    first, *rest = job.command
    with log.open("ab") as output:
        output.write(f"$ {shlex.join(job.command)}\n".encode())
        output.flush()
        process = subprocess.Popen(
            [*program.get(first, [first]), *rest],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent,
            env=os.environ | job.env,
        )
    return _Running(job, process, time.monotonic())


def _end(one: _Running, used: resource.struct_rusage, state: State) -> Done:
    job, log = one.job, state.log(one.job)
    missing = [path for path in job.makes if not path.exists()]
    code = one.process.returncode
    failed = code not in job.exit_codes
    if failed or missing:
        what = f"ended with {code}" if failed else f"did not make {missing[0]}"
        whole = log.read_text(encoding="utf-8", errors="replace")
        tail = whole[whole.rfind("\n$ ") + 1 :][-_TAIL:].strip()  # of this start alone
        raise PipelineError(
            f"{job.name} {what}; mend it, and the same command goes on. {log} ends in:\n{tail}"
        )
    done = Done(
        inputs=state.inputs(job),
        ended_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - one.began, 2),
        cpu_seconds=round(used.ru_utime + used.ru_stime, 2),
    )
    state.record(job, done)
    return done


def _stop(running: dict[int, _Running]) -> None:
    for one in running.values():
        one.process.terminate()
    for one in running.values():
        one.process.wait()


class _Line:
    """Says what is finished and how long the rest will take, from the stages' own times."""

    def __init__(self, console: Console, state: State, total: int, waiting: Sequence[Job]) -> None:
        self._console, self._total = console, total
        self._open = {job.name: job for job in waiting}
        self._began = time.monotonic()
        self._planned = 0.0

    def finish(self, job: Job, done: Done) -> None:
        del self._open[job.name]
        self._planned += minutes(job)
        rest = sum(minutes(each) for each in self._open.values())
        spent = time.monotonic() - self._began
        eta = f", ETA {spent / self._planned * rest / 60:.0f} min" if rest and self._planned else ""
        self._console.print(
            f"{job.name}: done in {done.seconds:.0f} s ({done.cpu_seconds:.0f} CPU s); "
            f"{self._total - len(self._open)} of {self._total} jobs{eta}",
            highlight=False,
        )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    with (out / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(
                f"another process runs the pipeline in {out}: wait for it"
            ) from None
        yield
