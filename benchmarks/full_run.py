"""The full run's manifest at small scale: undisturbed, and killed in every stage.

    python -m benchmarks.full_run --work FOLDER [--stage NAME ...]

Runs `manifests/pipelines/full.yaml` with the values of `full/small.yaml` to its end; then again in
an empty folder, where the process group gets SIGKILL in the middle of the first job of every stage
(or of those named) and the same command continues. Images are kept between the two, grades and PI
are made again. At last both are compared file by file. What may differ is named below; the exit
code is 1 when anything else does.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.pipeline.load import load_pipeline
from harness.pipeline.manifest import Job, expand

MANIFEST = Path("manifests/pipelines/full.yaml")
SMALL = Path("manifests/pipelines/full/small.yaml")
COMMAND = (str(MANIFEST), "--values", str(SMALL))
RESULTS = (
    *("filtered/*", "pi.jsonl", "triples/**/*", "contexts.parquet", "table.json", "audit/*/*"),
    *("adapters/*/final/*", "students/*/final/*", "students/*/ledger/*", "runs/*/scores.json"),
    *("runs/*/predictions.jsonl", "report/experiment.json", "report/index.html"),
)
CLOCK = {"seconds"}  # wall clock of attempts, in scores.json
SHARES = (0.5, 0.7, 0.35)  # of a job's undisturbed time, taking turns: when it is killed

STARTS = 3  # of a pipeline that fails by itself, as Ray does where a machine is too busy


def main() -> None:
    """Run, kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stage", action="append", default=[])
    chosen = parser.parse_args()
    work: Path = chosen.work
    run, whole = work / "run", work / "undisturbed"
    jobs = expand(load_pipeline(MANIFEST, (), (SMALL,)), MANIFEST, run)
    if not whole.exists():
        finish(COMMAND, run)
        run.rename(whole)
        for kept in ("grades", "pi"):
            shutil.rmtree(work / "cache" / "swe-harness" / kept, ignore_errors=True)
    kills = [
        kill(COMMAND, job, SHARES[number % len(SHARES)], run, whole)
        for number, job in enumerate(firsts(jobs, chosen.stage))
    ]
    finish(COMMAND, run)
    print(json.dumps({"kills": kills} | (found := compare(whole, run)), indent=1))
    sys.exit(bool(found["different"]))


def start(command: Sequence[str], out: Path) -> "subprocess.Popen[bytes]":
    """`harness pipeline`, in a process group of its own."""
    log = (out.parent / f"{out.name}.log").open("ab")
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "pipeline", *command, "--out", str(out)],
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=os.environ | {"XDG_CACHE_HOME": str(out.parent / "cache")},
    )


def finish(command: Sequence[str], out: Path) -> None:
    """Run to the end."""
    for _ in range(STARTS):
        if not start(command, out).wait():
            return
    sys.exit(f"{out} does not end: {out}/logs; the same command continues")


def firsts(jobs: Sequence[Job], only: Sequence[str]) -> list[Job]:
    """The first job of every stage."""
    found: dict[str, Job] = {}
    for job in jobs:
        found.setdefault(job.stage, job)
    return [job for name, job in found.items() if not only or name in only]


def kill(command: Sequence[str], job: Job, share: float, run: Path, whole: Path) -> dict[str, Any]:
    """Run until a job is at work, and kill the process group after a share of the time that the job
    took undisturbed; what was found then.
    """
    done = run / "stages" / f"{job.name}.json"
    undisturbed = json.loads((whole / "stages" / f"{job.name}.json").read_text())["seconds"]
    log = run / "logs" / f"{job.name}.log"
    process, starts = start(command, run), 1
    while not log.exists():
        time.sleep(0.05)
        if process.poll() is not None:  # it failed before the job
            if starts == STARTS:
                sys.exit(f"{job.name} is not reached: {run}/logs; the same command continues")
            process, starts = start(command, run), starts + 1
    time.sleep(share * undisturbed)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    found = {
        "job": job.name,
        "starts": starts,
        "killed_after_s": round(share * undisturbed, 1),
        "was_done": done.exists(),
        "complete_before": len(list(run.glob("stages/*.json"))),
    }
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def compare(whole: Path, run: Path) -> dict[str, Any]:
    """Files with the same bytes, those that differ in wall clock alone, and all others."""
    same, clock, different = [], [], {}
    for name in sorted({*results(whole), *results(run)}):
        a, b = whole / name, run / name
        if not a.exists() or not b.exists():
            different[name] = ["in one of them alone"]
        elif digest(a) == digest(b):
            same.append(name)
        elif a.suffix == ".json":
            fields = sorted(set(differences(json.loads(a.read_text()), json.loads(b.read_text()))))
            if {one.split(".")[0] for one in fields} <= CLOCK:
                clock.append(name)
            else:
                different[name] = fields
        else:
            different[name] = ["bytes"]
    return {"same": len(same), "clock_alone": clock, "different": different}


def results(root: Path) -> Iterator[str]:
    """Names of the files that are compared."""
    for pattern in RESULTS:
        yield from (str(p.relative_to(root)) for p in root.glob(pattern) if p.is_file())


def differences(a: Any, b: Any, place: str = "") -> Iterator[str]:
    """Where two JSON values differ, as keys joined by points."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            yield from differences(a.get(key), b.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for x, y in zip(a, b, strict=True):
            yield from differences(x, y, place)
    elif a != b:
        yield place


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
