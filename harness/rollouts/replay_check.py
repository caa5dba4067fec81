"""What a replay came to, beside what was recorded."""

from harness.config import RunConfig
from harness.gateway import Recording, read_calls
from harness.gateway.replay import difference
from harness.gateway.wire import call_seed
from harness.records import Attempt, Grade, Record, RunFolder, StopReason, Verdict
from harness.rollouts.ledger import Job
from harness.rollouts.recordings import recording_for


class Ended(Record):
    """How an attempt ended."""

    turns: int
    stop_reason: StopReason
    detail: str
    patch_sha256: str
    verdict: Verdict | None


class Replayed(Record):
    """One attempt of a replay.

    exact: no model was asked. given: recorded answers that were given. differences: where a request
    was another than the recorded one whose answer it got.
    """

    instance_id: str
    seed: int
    exact: bool
    given: int
    differences: tuple[str, ...]
    recorded: Ended
    replayed: Ended
    same_patch: bool
    same_verdict: bool

    @property
    def held(self) -> bool:
        """Whether the replay did what it should: ended by itself and, if exact, with the recorded
        patch and verdict, after as many turns, for the same reason."""
        if self.replayed.stop_reason is StopReason.INFRASTRUCTURE:
            return False
        before, after = self.recorded, self.replayed
        ended = (before.turns, before.stop_reason) == (after.turns, after.stop_reason)
        return not self.exact or (ended and self.same_patch and self.same_verdict)


def check(source: RunFolder, folder: RunFolder, config: RunConfig, job: Job) -> Replayed:
    """Compare an attempt of a replay with the recorded one. Raises RecordingError."""
    recording = recording_for(config, job)
    if recording is None or config.replay is None:
        raise ValueError(f"{folder.root} is no replay")
    before = _ended(source, Job(instance_id=job.instance_id, seed=config.replay.seed))
    after = _ended(folder, job)
    given, differences = _compare(folder, job, recording)
    return Replayed(
        instance_id=job.instance_id,
        seed=job.seed,
        exact=recording.whole,
        given=given,
        differences=differences,
        recorded=before,
        replayed=after,
        same_patch=before.patch_sha256 == after.patch_sha256,
        same_verdict=before.verdict == after.verdict,
    )


def _compare(folder: RunFolder, job: Job, recording: Recording) -> tuple[int, tuple[str, ...]]:
    rows = {call_seed(job.seed, n): row for n, row in enumerate(recording.rows, start=1)}
    given, found = 0, []
    for call in read_calls(folder.attempt(job.id, job.seed) / "calls.parquet"):
        row = rows.get(call.seed) if call.seed is not None else None
        if call.status != "answered" or row is None:
            continue
        given += 1
        if what := difference(row.request, call.request):
            found.append(f"call {row.call}: {what}")
    return given, tuple(found)


def _ended(folder: RunFolder, job: Job) -> Ended:
    path = folder.attempt(job.id, job.seed) / "attempt.json"
    attempt = Attempt.model_validate_json(path.read_bytes())
    grade = folder.grade(job.id, job.seed) / "grade.json"
    verdict = Grade.model_validate_json(grade.read_bytes()).verdict if grade.is_file() else None
    return Ended(
        turns=attempt.usage.turns,
        stop_reason=attempt.stop_reason,
        detail=attempt.detail,
        patch_sha256=attempt.patch_sha256,
        verdict=verdict,
    )
