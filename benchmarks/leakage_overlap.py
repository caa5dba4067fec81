"""The audit of n-gram overlap: speed and memory, and its thresholds on real repositories.

    python -m benchmarks.leakage_overlap --rows verified.jsonl.gz
    python -m benchmarks.leakage_overlap --rows verified.jsonl.gz \\
        --mirror sympy/sympy=sympy.git --mirror psf/requests=requests.git --sample 60

The first writes a run of all rows, 50 turns each, whose tool outputs are Python's own library,
and times the check on it. The second asks what a student would be shown that read *every* file of
a repository at the base commit: n-grams of a patch that are found there are found by chance.
"""

import argparse
import io
import json
import random
import resource
import subprocess
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.leakage import overlap
from harness.leakage.inputs import AuditInputs
from harness.leakage.ngrams import Index, Ngram, oracle, tokens
from harness.records import Attempt, Event, Instance, RunFolder, StopReason, Usage
from harness.suites.load import load_suite

_OUTPUT = 8000  # characters of a tool's output
_SEED = 0


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", required=True, help="A suite: a file or a name.")
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--mirror", action="append", default=[], metavar="REPO=GIT_DIRECTORY")
    parser.add_argument("--sample", type=int, default=60, help="Instances with a mirror.")
    arguments = parser.parse_args()
    instances = load_suite(arguments.rows, strict=False).instances
    mirrors = dict(one.split("=", 1) for one in arguments.mirror)
    if mirrors:
        chosen = [one for one in instances if one.repo in mirrors]
        random.Random(_SEED).shuffle(chosen)
        print(json.dumps(chance(chosen[: arguments.sample], mirrors), indent=1))
    else:
        print(json.dumps(speed(arguments.rows, instances, arguments.turns), indent=1))


def speed(rows: str, instances: Sequence[Instance], turns: int) -> dict[str, object]:
    """Seconds, throughput and peak memory of the check on a synthetic run."""
    library = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    source = "".join(path.read_text(errors="replace") for path in library)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        size = sum(_write(run, one, turns, source) for one in instances)
        started = time.monotonic()
        result = overlap.check(AuditInputs(evaluation=rows, runs=(run.root,)))
        seconds = time.monotonic() - started
    return {
        "attempts": len(instances),
        "turns": turns,
        "megabytes": round(size / 1e6, 1),
        "seconds": round(seconds, 1),
        "megabytes_per_second": round(size / 1e6 / seconds, 1),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "status": result.status,
        "reason": result.reason,
    }


def _write(run: RunFolder, one: Instance, turns: int, source: str) -> int:
    """An attempt on disk; its size in bytes."""
    pick = random.Random(one.instance_id)
    folder = run.attempt(one.id, 0)
    folder.mkdir(parents=True)
    events = [Event(step=0, seconds=0, kind="user", text=one.problem_statement)]
    for step in range(1, turns + 1):
        start = pick.randrange(len(source) - _OUTPUT)
        shown = source[start : start + _OUTPUT]
        events += [
            Event(step=step, seconds=step, kind="action", text="sed -n 1,200p file.py"),
            Event(step=step, seconds=step, kind="observation", text=shown),
        ]
    text = "".join(event.model_dump_json() + "\n" for event in events)
    (folder / "events.jsonl").write_text(text)
    (folder / "patch.diff").write_text(one.patch)
    attempt = Attempt(
        instance_id=one.instance_id,
        method="synthetic",
        seed=0,
        model=None,
        stop_reason=StopReason.TURN_CAP,
        detail="",
        usage=Usage(),
        patch_sha256="0" * 64,
        patch_bytes=len(one.patch),
        started_at="",
        seconds=0,
    )
    (folder / "attempt.json").write_text(attempt.model_dump_json())
    return len(text)


def chance(instances: Sequence[Instance], mirrors: dict[str, str]) -> dict[str, object]:
    """How often the thresholds would be met by the repository at the base commit alone."""
    fields = ("patch", "test_patch")
    rows = []
    for one in instances:
        issue = [one.problem_statement]
        wanted = [oracle(one.instance_id, each, getattr(one, each), known=issue) for each in fields]
        index = Index(wanted)
        found: set[Ngram] = set()
        for text in _tree(mirrors[one.repo], one.base_commit):
            found.update(index.find(tokens(text)))
        for each in wanted:
            own_ngrams = found & each.marks.keys()
            rows.append((each.field, len(own_ngrams), each.share(found), len(each.marks)))
    said: dict[str, object] = {"instances": len(instances)}
    for field in fields:
        own = [row for row in rows if row[0] == field]
        enough = [row for row in own if row[1] >= overlap.LEAK_NGRAMS]
        said[field] = {
            "without_ngrams": sum(total == 0 for *_, total in own),
            "median_share": sorted(share for _, _, share, _ in own)[len(own) // 2],
            "largest_share_with_enough_ngrams": max((row[2] for row in enough), default=0.0),
            "would_leak": sum(row[2] >= overlap.LEAK_SHARE for row in enough),
            "would_warn": sum(
                row[1] >= overlap.WARNING_NGRAMS and row[2] >= overlap.WARNING_SHARE for row in own
            ),
        }
    return said


def _tree(mirror: str, commit: str) -> Iterator[str]:
    """The Python files of a commit."""
    command = ["git", "-C", mirror, "archive", "--format=tar", commit]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".py"):
                file = tar.extractfile(member)
                assert file
                yield file.read().decode(errors="replace")


if __name__ == "__main__":
    main()
