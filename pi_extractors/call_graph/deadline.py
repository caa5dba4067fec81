"""Python code with a time limit, in a thread of its own."""

import ctypes
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

GRACE = 5.0
"""Seconds for the code to end after it was told to."""


class DeadlineExceededError(TimeoutError):
    """The code did not end in time; `stuck`: it is running still."""

    def __init__(self, seconds: float, stuck: bool) -> None:
        super().__init__(f"no answer within {seconds:g} s")
        self.stuck = stuck


class _StopError(BaseException):
    """Raised in the thread; no `except Exception` of the code swallows it."""


class _Outcome(Generic[T]):
    value: T
    error: BaseException | None = None


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises. Raises DeadlineExceededError when it takes too long."""
    outcome: _Outcome[T] = _Outcome()

    def run() -> None:
        try:
            outcome.value = work()
        except BaseException as error:  # handed to the caller
            outcome.error = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    late = thread.is_alive()
    if late and thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_StopError)
        )
        thread.join(GRACE)
    if late and (thread.is_alive() or isinstance(outcome.error, _StopError)):
        raise DeadlineExceededError(seconds, thread.is_alive())
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
