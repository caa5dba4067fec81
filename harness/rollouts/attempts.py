"""One attempt from start to grade, each step written to disk when complete."""

import hashlib
import json
import os
import shutil
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from harness.agents.base import Agent, Endpoint, EndpointFailure
from harness.config import RunConfig
from harness.grading.grader import Grader
from harness.records import (
    Attempt,
    Event,
    Grade,
    Instance,
    Outcome,
    RunFolder,
    StopReason,
    decode_patch,
    encode_patch,
)
from harness.rollouts.ledger import Job, Ledger, State
from harness.sandboxes.base import Sandbox, SandboxFailure, SandboxProvider

ROLLOUT_TRIES = 3


class AttemptRunner:
    """Makes and grades the attempts of one run. Called from several threads."""

    def __init__(
        self,
        *,
        folder: RunFolder,
        config: RunConfig,
        ledger: Ledger,
        agent: Agent,
        endpoint: Endpoint | None,
        provider: SandboxProvider,
        grader: Grader,
        instances: dict[str, Instance],
        images: dict[str, str],
    ) -> None:
        self._folder = folder
        self._config = config
        self._ledger = ledger
        self._agent = agent
        self._endpoint = endpoint
        self._provider = provider
        self._grader = grader
        self._instances = instances
        self._images = images

    def run(self, job: Job) -> Grade:
        """Make the attempt unless an earlier process has, and grade it."""
        instance = self._instances[job.instance_id]
        attempt_folder = self._folder.attempt(job.id, job.seed)
        if not (attempt_folder / "attempt.json").is_file():
            self._ledger.move(job, State.ROLLING)
            self._roll_out(job, instance, attempt_folder)
            self._ledger.move(job, State.ROLLED)
        patch = read_patch(attempt_folder)
        attempt = Attempt.model_validate_json((attempt_folder / "attempt.json").read_bytes())
        self._ledger.move(job, State.GRADING)
        grade = self._grade(job, instance, attempt, patch)
        self._ledger.move(job, State.DONE, grade.verdict)
        return grade

    def _roll_out(self, job: Job, instance: Instance, destination: Path) -> None:
        draft = _draft_folder(destination)
        for tries in range(1, ROLLOUT_TRIES + 1):  # noqa: B007
            _empty(draft)
            started, began = datetime.now(UTC), time.monotonic()
            with (draft / "events.jsonl").open("w", encoding="utf-8") as events:
                try:
                    outcome = self._run_agent(job, instance, _writer(events), draft / "logs")
                except (SandboxFailure, EndpointFailure) as error:
                    outcome = _no_patch(StopReason.INFRASTRUCTURE, error)
                except Exception as error:  # one agent's fault must not end the run
                    events.write(_note(traceback.format_exc()))
                    outcome = _no_patch(StopReason.AGENT_ERROR, error)
            if outcome.stop_reason is not StopReason.INFRASTRUCTURE:
                break
        patch = encode_patch(outcome.patch)
        attempt = Attempt(
            instance_id=job.instance_id,
            method=self._config.method.name,
            seed=job.seed,
            model=self._endpoint.model if self._endpoint else None,
            stop_reason=outcome.stop_reason,
            detail=outcome.detail,
            usage=outcome.usage,
            patch_sha256=hashlib.sha256(patch).hexdigest(),
            patch_bytes=len(patch),
            started_at=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - began, 3),
            tries=tries,
        )
        (draft / "patch.diff").write_bytes(patch)
        (draft / "attempt.json").write_text(attempt.model_dump_json(indent=1) + "\n")
        draft.rename(destination)

    def _run_agent(
        self, job: Job, instance: Instance, emit: Callable[[Event], None], logs: Path
    ) -> Outcome:
        logs.mkdir()

        def run(sandbox: Sandbox | None) -> Outcome:
            return self._agent.run(
                instance,
                sandbox=sandbox,
                endpoint=self._endpoint,
                budget=self._config.budget,
                seed=job.seed,
                emit=emit,
                logs=logs,
            )

        if not self._agent.needs_sandbox:
            return run(None)
        with self._provider.start(
            self._images[job.instance_id], limits=self._config.limits, owner=self._config.id
        ) as sandbox:
            return run(sandbox)

    def _grade(self, job: Job, instance: Instance, attempt: Attempt, patch: str) -> Grade:
        if attempt.stop_reason is StopReason.INFRASTRUCTURE:
            grade, log = self._grader.refuse(instance, patch, attempt.detail), b""
        else:
            try:
                grade, log = self._grader.grade(instance, patch, self._images[job.instance_id])
            except Exception as error:  # a fault of ours, shown as one
                reason = f"the grader failed: {type(error).__name__}: {error}"
                grade = self._grader.refuse(instance, patch, reason)
                log = traceback.format_exc().encode()
        destination = self._folder.grade(job.id, job.seed)
        draft = _draft_folder(destination)
        _empty(draft)
        (draft / "eval.log").write_bytes(log)
        (draft / "grade.json").write_text(grade.model_dump_json(indent=1) + "\n")
        draft.rename(destination)
        return grade


def read_patch(attempt_folder: Path) -> str:
    """An attempt's patch."""
    return decode_patch((attempt_folder / "patch.diff").read_bytes())


def remove_drafts(folder: RunFolder) -> None:
    """Remove what crashed attempts left half written."""
    for parent in ("attempts", "grades"):
        for draft in (folder.root / parent).glob("*/.*"):
            shutil.rmtree(draft)


def _no_patch(reason: StopReason, error: Exception) -> Outcome:
    return Outcome(patch="", stop_reason=reason, detail=f"{type(error).__name__}: {error}")


def _note(text: str) -> str:
    return Event(step=0, seconds=0, kind="note", text=text).model_dump_json() + "\n"


def _draft_folder(destination: Path) -> Path:
    return destination.parent / f".{destination.name}.{os.getpid()}"


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _writer(file: TextIO) -> Callable[[Event], None]:
    def emit(event: Event) -> None:
        json.dump(event.model_dump(mode="json"), file, ensure_ascii=True)
        file.write("\n")
        file.flush()

    return emit
