"""The recorded calls that an attempt of a replay is answered with."""

from pathlib import Path

from harness.config import RunConfig
from harness.gateway import Recording, read_recording
from harness.records import RunFolder
from harness.rollouts.ledger import Job


def recording_for(config: RunConfig, job: Job) -> Recording | None:
    """What a run's attempt is to be answered with; None where it is no replay.

    Raises RecordingError.
    """
    replay = config.replay
    if replay is None:
        return None
    return read_recording(
        RunFolder(Path(replay.run)).attempt(job.id, replay.seed) / "calls.parquet",
        seed=replay.seed,
        step=replay.step,
        forced=replay.forced,
        ids=replay.ids,
        card=replay.card,
    )
