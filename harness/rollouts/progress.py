"""Progress of long work: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_PLAIN_INTERVAL = 10.0


class ProgressLine:
    """Counts finished pieces of work and says how long the rest will take.

    `done` is what an earlier run has finished already: it counts, but not for the speed.
    """

    def __init__(self, title: str, total: int, *, done: int = 0, console: Console) -> None:
        self._console = console
        self._title, self._total, self._done, self._before = title, total, done, done
        self._began = self._last = time.monotonic()
        self._rich: Progress | None = None
        if console.is_terminal:
            self._rich = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=console,
                transient=True,
            )
            self._task = self._rich.add_task(title, total=total, completed=done, note="")

    def advance(self, note: str) -> None:
        """One more is finished; `note` sums up where things stand."""
        self._done += 1
        if self._rich:
            self._rich.update(self._task, completed=self._done, note=note)
            return
        now = time.monotonic()
        if self._done == self._total or now - self._last >= _PLAIN_INTERVAL:
            self._last = now
            self._console.print(
                f"{self._title}: {self._done} of {self._total}, {self._remaining(now)}, {note}",
                highlight=False,
                soft_wrap=True,
            )

    def _remaining(self, now: float) -> str:
        made = self._done - self._before
        if self._done == self._total:
            return f"{now - self._began:.0f} s"
        seconds = (now - self._began) / made * (self._total - self._done)
        return f"ETA {seconds:.0f} s"

    def __enter__(self) -> Self:
        if self._rich:
            self._rich.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._rich:
            self._rich.stop()


def make_console() -> Console:
    """Where people read progress: standard error, so that output can be piped."""
    return Console(file=sys.stderr)
