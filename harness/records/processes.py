"""Processes that end with the one that started them (Linux)."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process a signal when its parent ends, however that ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))
