"""Wall clock of grading against the official harness and against the bare test commands.

Same images, same gold patches, same engine, side by side in one run; verdicts must be identical.

    python -m benchmarks.grading --rows ROWS --instances psf__requests-6028 pallets__flask-5014
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.official import WRONG, run_official
from harness.grading.eval_script import plan_evaluation
from harness.grading.grader import Grader
from harness.grading.options import GradingOptions
from harness.grading.prepare import test_script
from harness.records import Grade, Instance, RunFolder, Verdict
from harness.sandboxes import make_provider
from harness.suites.load import load_suite
from harness.suites.select import select

Verdicts = dict[str, bool]


def run_command(rows: str, instances: Sequence[Instance], workers: int) -> tuple[float, Verdicts]:
    """Seconds and verdicts of `harness eval`, from its start to the written report."""
    with tempfile.TemporaryDirectory() as folder:
        code = "from harness.cli import main; main()"
        command = [sys.executable, "-c", code, "eval", "-m", "gold", "-s", rows, "-p", "docker"]
        command += ["--no-cache", "--workers", str(workers), "--runs", folder, "--run-id", "ours"]
        command += [part for one in instances for part in ("-i", one.instance_id)]
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.monotonic() - began
        run = RunFolder(Path(folder, "ours"))
        grades = {
            one.instance_id: Grade.model_validate_json(
                (run.grade(one.id, 0) / "grade.json").read_bytes()
            )
            for one in instances
        }
    return seconds, {name: grade.verdict is Verdict.RESOLVED for name, grade in grades.items()}


def run_one(instance: Instance) -> float:
    """Seconds of grading one gold patch, in this process."""
    grader = Grader(make_provider("docker"), GradingOptions(), owner="benchmark")
    began = time.monotonic()
    grade, _ = grader.grade(instance, instance.patch, str(instance.image))
    assert grade.verdict is Verdict.RESOLVED, grade.reason
    return time.monotonic() - began


def run_early_exit(instances: Sequence[Instance], repeats: int) -> dict[str, object]:
    """Unresolved attempts with and without early exit: seconds of their test commands."""
    provider = make_provider("docker")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for early in (False, True) * repeats:
        grader = Grader(provider, GradingOptions(early_exit=early), owner="benchmark")
        for one in instances:
            grade, _ = grader.grade(one, WRONG, str(one.image))
            assert grade.verdict is Verdict.UNRESOLVED, grade.reason
            seconds[early].append(grade.timing.tests)
    full, early_seconds = (statistics.fmean(seconds[early]) for early in (False, True))
    return {
        "full_seconds": round(full, 2),
        "early_exit_seconds": round(early_seconds, 2),
        "ratio": round(early_seconds / full, 2),
    }


def run_bare(instance: Instance) -> float:
    """Seconds of the test command alone, in a container that is ready for it."""
    plan = plan_evaluation(instance)
    name = f"bare-{instance.instance_id}-{os.getpid()}"
    _docker(
        "run",
        "-d",
        "--init",
        "--network",
        "none",
        "--name",
        name,
        str(instance.image),
        "sleep",
        "900",
    )
    try:
        for patch in (instance.patch, plan.test_patch):
            apply = ("exec", "-i", "-w", "/testbed", name, "git", "apply", "-")
            _docker(*apply, stdin=patch)
        began = time.monotonic()
        # Where the package is installed by copy, its tests do not see the patch: they may fail.
        _docker("exec", name, "bash", "-c", test_script(plan), check=False)
        return time.monotonic() - began
    finally:
        _docker("rm", "-f", name)


def _docker(*arguments: str, stdin: str = "", check: bool = True) -> None:
    subprocess.run(["docker", *arguments], input=stdin, text=True, check=check, capture_output=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--instances", nargs="+", required=True)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3, help="of ours and the bare commands")
    options = parser.parse_args()
    instances = select(load_suite(options.rows).instances, ids=options.instances)

    result: dict[str, object] = {"instances": [one.instance_id for one in instances]}
    for workers in options.workers:
        official = run_official(instances, [one.patch for one in instances], workers=workers)
        expected = {one.instance_id: official.resolved(one) for one in instances}
        ours = []
        for _ in range(options.repeats):
            seconds, verdicts = run_command(options.rows, instances, workers)
            ours.append(seconds)
            assert verdicts == expected, (verdicts, expected)
        median = statistics.median(ours)
        result[f"workers={workers}"] = {
            "official_seconds": round(official.seconds, 1),
            "ours_seconds": round(median, 1),
            "ratio": round(median / official.seconds, 3),
            "verdicts_identical": True,
        }
    each = {}
    for instance in instances:
        bare = statistics.median(run_bare(instance) for _ in range(options.repeats))
        ours_each = statistics.median(run_one(instance) for _ in range(options.repeats))
        each[instance.instance_id] = {
            "bare_seconds": round(bare, 2),
            "ours_seconds": round(ours_each, 2),
            "allowed_seconds": round(1.0 + 1.05 * bare, 2),
        }
    result["against_bare_commands"] = each
    result["early_exit"] = run_early_exit(instances, options.repeats)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
