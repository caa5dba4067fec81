"""Where attempts are made: the executor contract."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from harness.records import Attempt, Grade
from harness.rollouts.ledger import Job


class Executor(Protocol):
    """Makes and grades attempts on this machine or on others. Safe to use from several threads.

    Each call returns when its work is done and `folder` (a draft, made by the call) is filled: the
    scheduler's threads are the queue, and the driver alone keeps ledger and run folder. Work
    that is lost with its machine too often is an infrastructure failure. Raises ExecutorFailure
    when there is no machine left to work on.
    """

    def make(self, job: Job, folder: Path) -> Attempt:
        """Roll an attempt out; its files are in `folder`."""
        ...

    def grade(self, job: Job, attempt: Attempt, patch: str, folder: Path) -> Grade:
        """Grade an attempt's patch; the grade's files are in `folder`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ExecutorFailure(Exception):  # noqa: N818
    """No machine is left to work on; the text says what would help."""
