"""What a conversation leaves behind: OpenHands' own log, whole, and the trajectory's events."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.agents.base import Emit
from harness.agents.openhands.events import Kind, shown
from harness.records import Event
from harness.sandboxes.base import MIB

LOG_BYTES = 256 * MIB


class Recorder:
    """Keeps each event as it comes in `openhands.jsonl`, and emits what it means.

    `turns` never goes back or over the budget, whatever it is told.
    """

    def __init__(self, emit: Emit, logs: Path, *, most_turns: int) -> None:
        self._emit = emit
        self._log = (logs / "openhands.jsonl").open("wb")
        self._room = LOG_BYTES
        self._most_turns = most_turns
        self._began = time.monotonic()
        self.turns = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._log.close()

    def event(self, line: bytes, turns: int) -> None:
        """Take one event of OpenHands, JSON on one line."""
        self.turns = min(max(self.turns, turns), self._most_turns)
        self._keep(line)
        try:
            value = json.loads(line)
            entries = list(shown(value)) if isinstance(value, dict) else None
        except (ValueError, RecursionError):
            entries = None
        if entries is None:
            self.note(f"an event that is not readable: {line[:200].decode(errors='replace')}")
            return
        for entry in entries:
            self._send(entry.kind, entry.text, entry.data)

    def note(self, text: str, **data: Any) -> None:
        """Emit a note of the harness."""
        self._send("note", text, data)

    def _send(self, kind: Kind, text: str, data: Mapping[str, Any]) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        self._emit(Event(step=self.turns, seconds=seconds, kind=kind, text=text, data=dict(data)))

    def _keep(self, line: bytes) -> None:
        if self._room <= 0:
            return
        self._room -= len(line) + 1
        if self._room <= 0:
            self.note(f"openhands.jsonl is full: {LOG_BYTES:,} bytes")
            return
        self._log.write(line + b"\n")
        self._log.flush()
