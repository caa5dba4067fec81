"""Cost of the scheduler: 1,000 attempts of the no-op method, from start to report.

python -m benchmarks.scheduler
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INSTANCES, SEEDS = 20, 50
CODE = """
import json, resource, sys
from harness.cli import main
sys.argv = ["harness", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss), file=sys.stderr)
"""


def run(folder: str, seeds: int) -> tuple[float, int]:
    """Seconds and peak memory (KiB) of a no-op evaluation with so many seeds."""
    command = [sys.executable, "-c", CODE, "eval", "-m", "noop", "-s", "pypi-mini"]
    command += ["--limit", str(INSTANCES), "--seeds", str(seeds)]
    command += ["--runs", folder, "--run-id", f"noop-{seeds}"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.monotonic() - began, int(done.stderr.splitlines()[-1])


def main() -> None:
    """Measure one seed and fifty, and print what an attempt more costs."""
    with tempfile.TemporaryDirectory() as folder:
        run(folder, 2)  # environments are built once
        few_seconds, few_memory = run(folder, 1)
        many_seconds, many_memory = run(folder, SEEDS)
        made = sum(1 for _ in Path(folder, f"noop-{SEEDS}").glob("grades/*/*/grade.json"))
    more = INSTANCES * (SEEDS - 1)
    print(
        json.dumps(
            {
                "attempts": made,
                "milliseconds_an_attempt": round(1000 * (many_seconds - few_seconds) / more, 2),
                "whole_run_seconds": round(many_seconds, 2),
                "peak_memory_mib": {
                    f"{INSTANCES} attempts": few_memory // 1024,
                    f"{made} attempts": many_memory // 1024,
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
