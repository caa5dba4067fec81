"""What /proc tells of processes."""

import os
import subprocess
import sys
import textwrap
import time

from harness.sandboxes.base import MIB
from harness.sandboxes.host import lives, process_token, processes_with_argument, tree_memory


def test_a_process_lives_until_it_is_gone() -> None:
    assert lives(process_token(os.getpid()))
    child = subprocess.Popen(["sleep", "60"])
    token = process_token(child.pid)
    assert lives(token)
    child.kill()
    child.wait()
    assert not lives(token)


def test_another_process_with_the_same_id_is_not_the_same() -> None:
    pid, _, began = process_token(os.getpid()).partition("-")
    assert not lives(f"{pid}-{int(began) - 1}")
    assert not lives("")
    assert not lives("no token")


def test_memory_counts_descendants_and_shared_pages_once() -> None:
    code = textwrap.dedent("""
        import os, sys, time
        held = b"1" * 50_000_000
        for _ in range(3):
            if os.fork() == 0:
                time.sleep(60)
        print("ready", flush=True)
        time.sleep(60)
    """)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    try:
        parent.stdout.readline()
        assert tree_memory(parent.pid, limit=10**12) > 4 * 50_000_000
        assert 50_000_000 < tree_memory(parent.pid, limit=100 * MIB) < 2 * 50_000_000
    finally:
        for pid in [*processes_with_argument(sys.executable, "held = b")]:
            os.kill(pid, 9)
        parent.wait()
        parent.stdout.close()


def test_memory_of_a_process_that_is_gone() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert tree_memory(child.pid, limit=MIB) == 0


def test_processes_are_found_by_program_and_argument() -> None:
    child = subprocess.Popen(["sleep", "86399.25"])
    try:
        while not (found := list(processes_with_argument("sleep", "86399.25"))):
            time.sleep(0.01)  # its arguments are set a moment after it has begun
        assert found == [child.pid]
        assert list(processes_with_argument("cat", "86399.25")) == []
    finally:
        child.kill()
        child.wait()
