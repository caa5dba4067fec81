"""Jobs are worked through fairly, within bounds, and stop cleanly."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.rollouts.scheduler import Stopped, fair_order, run_jobs


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_fair_order_keeps_every_job_and_lets_groups_take_turns(jobs: list[tuple[str, int]]) -> None:
    ordered = fair_order(jobs, lambda job: job[0])
    assert sorted(ordered) == sorted(jobs)
    for group in "abc":
        assert [job for job in ordered if job[0] == group] == [j for j in jobs if j[0] == group]
    seen: dict[str, int] = {}
    for group, _ in ordered:
        behind = [
            other for other in {j[0] for j in jobs} if seen.get(other, 0) < seen.get(group, 0)
        ]
        exhausted = [g for g in behind if seen.get(g, 0) == sum(1 for j in jobs if j[0] == g)]
        assert len(behind) == len(exhausted), "a group went twice while another had work left"
        seen[group] = seen.get(group, 0) + 1


def test_every_job_runs_once_with_bounded_workers() -> None:
    lock, active, most = threading.Lock(), 0, 0
    done: list[tuple[int, int]] = []

    def work(job: int) -> int:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.002)
        with lock:
            active -= 1
        return job * job

    run_jobs(
        range(50),
        work,
        workers=3,
        after=lambda job, result: done.append((job, result)),
        on_stop=lambda count: None,
    )
    assert sorted(done) == [(job, job * job) for job in range(50)]
    assert most == 3


def test_an_error_lets_the_others_finish_and_is_raised() -> None:
    done: list[int] = []

    def work(job: int) -> int:
        if job == 1:
            raise ValueError("job 1 broke")
        time.sleep(0.05)
        return job

    with pytest.raises(ValueError, match="job 1 broke"):
        run_jobs(
            range(100),
            work,
            workers=2,
            after=lambda job, _: done.append(job),
            on_stop=lambda count: None,
        )
    assert 0 in done
    assert len(done) < 100


def test_the_first_interrupt_finishes_what_is_in_flight() -> None:
    done: list[int] = []
    told: list[int] = []

    def work(job: int) -> int:
        if job == 3:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return job

    with pytest.raises(Stopped):
        run_jobs(
            range(100), work, workers=2, after=lambda job, _: done.append(job), on_stop=told.append
        )
    assert told
    assert told[0] >= 1
    assert 3 in done
    assert len(done) < 100


def test_a_second_interrupt_ends_the_process_at_once() -> None:
    code = (
        "import os, signal, time\nfrom harness.rollouts.scheduler import run_jobs\n"
        "def work(job):\n    print('working', flush=True)\n    time.sleep(60)\n"
        "run_jobs([1], work, workers=1, after=lambda j, r: None,"
        " on_stop=lambda n: print('stopping', flush=True))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
