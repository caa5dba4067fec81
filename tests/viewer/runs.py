"""Small runs for the viewer, one of them hostile in all that it wrote."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness.records import Event, Verdict
from tests.reports.report_builder import GOLD, RunBuilder, conversation, make_instances

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe \x00 end"
COUNT = 6


def write_runs(root: Path) -> list[str]:
    """Two runs, `one` and `deep/two`; the ids of their instances."""
    instances = make_instances(COUNT)
    for name, good in (("one", 2), ("deep/two", 4)):
        build = RunBuilder(root / name, name.rpartition("/")[2], instances)
        for number, instance in enumerate(instances):
            events = [*conversation(3, number), Event(step=4, seconds=1, kind="note", text="zebra")]
            if number == 0:
                events.append(Event(step=5, seconds=1, kind="assistant", text=HOSTILE))
            build.attempt(instance, events=events, patch=GOLD)
            verdict = Verdict.RESOLVED if number < good else Verdict.UNRESOLVED
            build.grade(instance, verdict=verdict, reason=HOSTILE)
        build.score()
    write_calls(root / "one" / "attempts" / instances[0].instance_id / "0" / "calls.parquet")
    return [one.instance_id for one in instances]


def write_calls(path: Path) -> None:
    """Two turns of one conversation: ids 1 2 → 3 4, then 1 2 3 4 5 → 6."""
    rows = [([1, 2], [3, 4], [-0.5, -2.0], 1), ([1, 2, 3, 4, 5], [6], [-0.1], 2)]
    columns = {
        "turn": pa.array([row[3] for row in rows], pa.int32()),
        "purpose": ["agent"] * 2,
        "status": ["answered"] * 2,
        "prompt_ids": pa.array([row[0] for row in rows], pa.list_(pa.int32())),
        "sampled_ids": pa.array([row[1] for row in rows], pa.list_(pa.int32())),
        "logprobs": pa.array([row[2] for row in rows], pa.list_(pa.float32())),
        "temperature": [0.7] * 2,
        "top_p": [0.95] * 2,
    }
    pq.write_table(pa.table(columns), path)


def write_ledger(folder: Path, trajectory: str) -> None:
    """Decisions on tokens 2 and 3; the later step's count."""
    folder.mkdir()
    for step, cell in ((1, "A"), (2, "D")):
        numbers = {key: [0.25, 0.75] for key in ("rho", "kappa", "teacher_entropy", "tv", "kl")}
        columns = {"step": [step] * 2, "trajectory": [trajectory] * 2, "token": [2, 3]}
        pq.write_table(
            pa.table({**columns, "cell": [cell] * 2, **numbers}),
            folder / f"step-{step:06d}.parquet",
        )
