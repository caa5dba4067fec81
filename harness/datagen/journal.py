"""Records that are appended as they come: what an interrupted start leaves for the next one."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from harness.records import Record

R = TypeVar("R", bound=Record)


class Journal(Generic[R]):
    """A file of JSON lines; a last line that was cut is dropped."""

    def __init__(self, path: Path, record: type[R]) -> None:
        self._path, self._record = path, record
        self._lock = threading.Lock()
        whole = path.read_bytes() if path.exists() else b""
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            os.truncate(path, end)
        self._lines = whole[:end].splitlines()

    def __iter__(self) -> Iterator[R]:
        """What an earlier start left. Raises ValidationError for a line of another kind."""
        return (self._record.model_validate_json(line) for line in self._lines)

    def add(self, record: R) -> None:
        """Keep a record; it is on the disk afterwards."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
