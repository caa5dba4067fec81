import os
import signal
import subprocess
import sys
import time

CHILD = "from harness.records.processes import end_with_parent; import signal, time; "
CHILD += "end_with_parent(signal.SIGKILL); print('up', flush=True); time.sleep(60)"
PARENT = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
PARENT += "start_new_session=True); print(child.pid, flush=True); child.wait()"


def test_a_process_ends_with_its_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline() == b"up\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"{pid} lives on")
