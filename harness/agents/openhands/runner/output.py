"""Lines for the harness: `<kind> <turns> <JSON>`."""

import json
import os
import threading
from typing import Any


class Output:
    """The runner's own output. Safe to use from several threads.

    It keeps the real stdout for itself; whatever else is printed goes to a log file, also by what
    inherits stdout and stderr.
    """

    def __init__(self, log: str) -> None:
        self._file = os.fdopen(os.dup(1), "wb")
        self._lock = threading.Lock()
        self._ended = False
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)

    def write(self, kind: str, turns: int, text: str) -> None:
        """Write a line; `text` is JSON on one line. Nothing comes after the end."""
        with self._lock:
            if not self._ended:
                self._file.write(f"{kind} {turns} {text}\n".encode(errors="replace"))
                self._file.flush()

    def end(self, turns: int, value: dict[str, Any]) -> None:
        """Write the last line and leave the process, whatever its threads do."""
        self.write("end", turns, json.dumps(value))
        with self._lock:
            self._ended = True
            os._exit(0)
