"""Making and grading one attempt: everything but where its results are kept.

Knows no ledger and no run folder, so that it works on whatever machine an executor uses.
"""

import hashlib
import json
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from harness.agents import make_agent
from harness.agents.base import GATEWAY_FOLDER, Agent, Endpoint, EndpointFailure
from harness.config import RunConfig
from harness.gateway import Door, DoorReport, Gateway
from harness.grading.cache import GradeCache
from harness.grading.grader import Grader
from harness.questions.grader import QuestionGrader
from harness.records import (
    Attempt,
    Event,
    Grade,
    Instance,
    Outcome,
    Record,
    StopReason,
    decode_patch,
    encode_patch,
)
from harness.rollouts.ledger import Job
from harness.rollouts.recordings import recording_for
from harness.sandboxes.base import Bind, ImageMissingError, SandboxFailure, SandboxProvider

ROLLOUT_TRIES = 3
_FINISHED = frozenset({StopReason.FINISHED})
# What ends an agent of its own accord, whatever the gateway says of the reason for ending it.
_AGENTS_OWN = {
    StopReason.INFRASTRUCTURE: _FINISHED,
    StopReason.TURN_CAP: _FINISHED | {StopReason.WALL_CLOCK, StopReason.STUCK},
    StopReason.TOKEN_CAP: _FINISHED | {StopReason.WALL_CLOCK, StopReason.STUCK},
}


class WorkOrder(Record):
    """All that is needed to work on the attempts of a run, on any machine.

    An agent's option that is a `Path` is a file; an executor brings it to other machines.
    """

    config: RunConfig
    instances: Mapping[str, Instance]
    images: Mapping[str, str]
    endpoint: Endpoint | None
    agent_options: Mapping[str, object]
    cache: Path | None


class Workshop:
    """Makes and grades attempts of one run. Safe to use from several threads."""

    def __init__(
        self, order: WorkOrder, provider: SandboxProvider, *, sockets: Path | None = None
    ) -> None:
        """`sockets`: see `Gateway`."""
        config = order.config
        self._order = order
        self._provider = provider
        self._agent: Agent = make_agent(config.method.agent.kind, order.agent_options)
        self._grader = _make_grader(order, provider)
        self._gateway: Gateway | None = None
        if order.endpoint:
            self._gateway = Gateway(order.endpoint, config.gateway, sockets=sockets)

    def __enter__(self) -> Self:
        self._agent.prepare(lambda line: None)
        if self._gateway:
            self._gateway.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._gateway:
            self._gateway.__exit__(kind, error, trace)
        if isinstance(self._grader, QuestionGrader):
            self._grader.close()

    def make(self, job: Job, folder: Path, *, lost: int = 0) -> Attempt:
        """Roll the attempt out, infrastructure failures again, and fill its folder.

        `lost` starts, of which nothing is left, were made before.
        """
        for tries in range(1, ROLLOUT_TRIES + 1):  # noqa: B007
            empty(folder)
            (folder / "logs").mkdir()
            started, began = datetime.now(UTC), time.monotonic()
            outcome, report = self._roll_out(job, folder)
            if outcome.stop_reason is not StopReason.INFRASTRUCTURE:
                break
        seconds = round(time.monotonic() - began, 3)
        return self._record(job, folder, outcome, report, started, seconds, lost + tries)

    def give_up(self, job: Job, folder: Path, reason: str, *, tries: int) -> Attempt:
        """Fill the folder of an attempt that could not be made at all."""
        empty(folder)
        (folder / "logs").mkdir()
        (folder / "events.jsonl").write_text(_note(reason), encoding="utf-8")
        outcome = Outcome(patch="", stop_reason=StopReason.INFRASTRUCTURE, detail=reason)
        return self._record(job, folder, outcome, None, datetime.now(UTC), 0.0, tries)

    def grade(
        self, job: Job, attempt: Attempt, patch: str, folder: Path, *, lost: int = 0
    ) -> Grade:
        """Grade the attempt's patch and fill the grade's folder; `lost` as in `make`."""
        instance = self._order.instances[job.instance_id]
        if attempt.stop_reason is StopReason.INFRASTRUCTURE:
            grade, log = self._grader.refuse(instance, patch, attempt.detail), b""
        else:
            try:
                grade, log = self._grader.grade(instance, patch, self._image(job))
            except ImageMissingError as error:
                grade, log = self._grader.refuse(instance, patch, str(error)), b""
            except Exception as error:  # a fault of ours, shown as one
                reason = f"the grader failed: {type(error).__name__}: {error}"
                grade = self._grader.refuse(instance, patch, reason)
                log = traceback.format_exc().encode()
        grade = grade.model_copy(update={"tries": lost + grade.tries})
        return _write_grade(folder, grade, log)

    def refuse(self, job: Job, patch: str, folder: Path, reason: str, *, tries: int) -> Grade:
        """Fill the grade's folder of a patch that could not be evaluated at all."""
        instance = self._order.instances[job.instance_id]
        return _write_grade(folder, self._grader.refuse(instance, patch, reason, tries=tries), b"")

    def _record(
        self,
        job: Job,
        folder: Path,
        outcome: Outcome,
        report: DoorReport | None,
        started: datetime,
        seconds: float,
        tries: int,
    ) -> Attempt:
        patch = encode_patch(outcome.patch)
        attempt = Attempt(
            instance_id=job.instance_id,
            method=self._order.config.method.name,
            seed=job.seed,
            model=self._order.endpoint.model if self._order.endpoint else None,
            stop_reason=outcome.stop_reason,
            detail=outcome.detail,
            usage=outcome.usage,
            model_calls=report.calls if report else None,
            patch_sha256=hashlib.sha256(patch).hexdigest(),
            patch_bytes=len(patch),
            started_at=started.isoformat(timespec="seconds"),
            seconds=seconds,
            tries=tries,
        )
        (folder / "patch.diff").write_bytes(patch)
        (folder / "attempt.json").write_text(attempt.model_dump_json(indent=1) + "\n")
        return attempt

    def _image(self, job: Job) -> str:
        try:
            return self._order.images[job.instance_id]
        except KeyError:
            raise ImageMissingError(f"there is no image of {job.instance_id}") from None

    def _roll_out(self, job: Job, folder: Path) -> tuple[Outcome, DoorReport | None]:
        report: DoorReport | None = None
        with (folder / "events.jsonl").open("w", encoding="utf-8") as events, ExitStack() as held:
            door: Door | None = None
            try:
                if self._gateway:
                    door = held.enter_context(
                        self._gateway.open(
                            budget=self._order.config.budget,
                            seed=job.seed,
                            calls=folder / "calls.parquet",
                            purposes=self._agent.purposes,
                            recording=recording_for(self._order.config, job),
                        )
                    )
                outcome = self._run_agent(job, door, _writer(events), folder / "logs")
            except (SandboxFailure, EndpointFailure) as error:
                outcome = _no_patch(StopReason.INFRASTRUCTURE, error)
            except Exception as error:  # one agent's fault must not end the run
                events.write(_note(traceback.format_exc()))
                outcome = _no_patch(StopReason.AGENT_ERROR, error)
            if door:
                report = door.close()
                outcome = settled(outcome, report)
        return outcome, report

    def _run_agent(
        self, job: Job, door: Door | None, emit: Callable[[Event], None], logs: Path
    ) -> Outcome:
        order, agent = self._order, self._agent
        with ExitStack() as held:
            sandbox = None
            if agent.needs_sandbox:
                sandbox = held.enter_context(
                    self._provider.start(
                        self._image(job),
                        limits=order.config.limits,
                        owner=order.config.id,
                        binds=attempt_binds(agent, self._provider.kind, door),
                    )
                )
            return agent.run(
                order.instances[job.instance_id],
                sandbox=sandbox,
                endpoint=door.endpoint if door else None,
                budget=order.config.budget,
                seed=job.seed,
                emit=emit,
                logs=logs,
            )


def _make_grader(order: WorkOrder, provider: SandboxProvider) -> Grader | QuestionGrader:
    config = order.config
    if config.suite.kind != "instances":
        return QuestionGrader(config.suite.kind, provider, config.grading, owner=config.id)
    cache = GradeCache(order.cache) if order.cache else None
    return Grader(provider, config.grading, owner=config.id, cache=cache)


def attempt_binds(agent: Agent, sandbox_kind: str, door: Door | None) -> list[Bind]:
    """What an attempt's sandbox sees of the host: the agent's own, and its gateway's socket."""
    binds = [*agent.binds(sandbox_kind)]
    if agent.model_in_sandbox and door:
        binds.append(Bind(source=str(door.folder), target=GATEWAY_FOLDER))
    return binds


def settled(outcome: Outcome, report: DoorReport) -> Outcome:
    """An agent's outcome with what the gateway counted, and with its reason where it ended the
    attempt: an agent only sees a call that fails, or that takes for ever."""
    usage = report.usage.model_copy(
        update={"tool_calls": max(outcome.usage.tool_calls, report.usage.tool_calls)}
    )
    if report.ended is None or outcome.stop_reason in _AGENTS_OWN[report.ended]:
        return outcome.model_copy(update={"usage": usage})
    detail = report.detail or outcome.detail
    return outcome.model_copy(
        update={"usage": usage, "stop_reason": report.ended, "detail": detail}
    )


def read_patch(attempt_folder: Path) -> str:
    """An attempt's patch."""
    return decode_patch((attempt_folder / "patch.diff").read_bytes())


def empty(folder: Path) -> None:
    """Make a folder, without anything that was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _write_grade(folder: Path, grade: Grade, log: bytes) -> Grade:
    empty(folder)
    (folder / "eval.log").write_bytes(log)
    (folder / "grade.json").write_text(grade.model_dump_json(indent=1) + "\n")
    return grade


def _no_patch(reason: StopReason, error: Exception) -> Outcome:
    return Outcome(patch="", stop_reason=reason, detail=f"{type(error).__name__}: {error}")


def _note(text: str) -> str:
    return Event(step=0, seconds=0, kind="note", text=text).model_dump_json() + "\n"


def _writer(file: TextIO) -> Callable[[Event], None]:
    def emit(event: Event) -> None:
        json.dump(event.model_dump(mode="json"), file, ensure_ascii=True)
        file.write("\n")
        file.flush()

    return emit
