"""Work through jobs with a bounded number of workers, stopping cleanly when asked."""

import asyncio
import os
import signal
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")


class Stopped(Exception):  # noqa: N818
    """The user asked to stop; what was in flight has been finished and recorded."""


def fair_order(jobs: Iterable[J], group: Callable[[J], str]) -> list[J]:
    """The jobs with their groups taking turns, so that no repository is left to the end."""
    groups: dict[str, deque[J]] = defaultdict(deque)
    for job in jobs:
        groups[group(job)].append(job)
    ordered: list[J] = []
    while groups:
        for name in list(groups):
            ordered.append(groups[name].popleft())
            if not groups[name]:
                del groups[name]
    return ordered


def run_jobs(
    jobs: Sequence[J],
    work: Callable[[J], R],
    *,
    workers: int,
    after: Callable[[J, R], None],
    on_stop: Callable[[int], None],
) -> None:
    """Call `work` on every job in worker threads, and `after` on each result in this one.

    The first SIGINT or SIGTERM hands out no more jobs, calls `on_stop` with the number still in
    flight, and ends with Stopped when they are finished. A second one ends the process at once,
    as a crash would. An error of `work` lets the others in flight finish and is raised.
    """
    asyncio.run(_run_jobs(deque(jobs), work, workers, after, on_stop))


async def _run_jobs(
    waiting: deque[J],
    work: Callable[[J], R],
    workers: int,
    after: Callable[[J, R], None],
    on_stop: Callable[[int], None],
) -> None:
    loop = asyncio.get_running_loop()
    running: dict[asyncio.Future[R], J] = {}
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:
            os._exit(130)
        stopping = True
        on_stop(len(running))

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop)
    failure: BaseException | None = None
    with ThreadPoolExecutor(workers, thread_name_prefix="worker") as pool:
        while True:
            while waiting and not stopping and failure is None and len(running) < workers:
                job = waiting.popleft()
                running[loop.run_in_executor(pool, work, job)] = job
            if not running:
                break
            finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                if (error := future.exception()) is not None:
                    failure = failure or error
                else:
                    after(job, future.result())
    for number in signals:
        loop.remove_signal_handler(number)
    if failure is not None:
        raise failure
    if stopping and waiting:
        raise Stopped
