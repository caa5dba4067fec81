"""Workers of an extraction."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from harness.datagen.pi import end_with_parent

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def runs(process: Path) -> bool:
    try:
        return "\nState:\tZ" not in (process / "status").read_text()
    except OSError:
        return False


def test_a_worker_does_not_outlive_a_harness_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        worker = Path("/proc") / process.stdout.readline().decode().strip()
        assert runs(worker)
        os.kill(process.pid, signal.SIGKILL)
    ended = time.monotonic() + 30
    while runs(worker):
        assert time.monotonic() < ended, "the worker is still there"
        time.sleep(0.05)
