"""What the parts of one attempt of the mini agent share."""

import time
from typing import Any

from minisweagent.exceptions import InterruptAgentFlow

from harness.agents.base import Emit
from harness.records import Budget, Event, StopReason, Usage

Message = dict[str, Any]


class LiveAttempt:
    """The clock, the budget, the counts and the events of one attempt."""

    def __init__(self, budget: Budget, emit: Emit) -> None:
        self.budget = budget
        self._emit = emit
        self._began = time.monotonic()
        self.turns = 0
        self.tool_calls = 0
        self.prompt_tokens = 0
        self.generated_tokens = 0

    @property
    def seconds(self) -> float:
        """Seconds since the attempt began."""
        return time.monotonic() - self._began

    def seconds_left(self) -> float:
        """Seconds until the wall clock stops the attempt; stops it when there are none."""
        left = self.budget.wall_clock_seconds - self.seconds
        if left <= 0:
            raise stop(StopReason.WALL_CLOCK, f"{self.budget.wall_clock_seconds:g} s used up")
        return left

    def emit(self, kind: Any, text: str, **data: Any) -> None:
        """Record an event now."""
        self._emit(
            Event(step=self.turns, seconds=round(self.seconds, 3), kind=kind, text=text, data=data)
        )

    def usage(self) -> Usage:
        """What was consumed so far."""
        return Usage(
            turns=self.turns,
            tool_calls=self.tool_calls,
            prompt_tokens=self.prompt_tokens,
            generated_tokens=self.generated_tokens,
        )


def stop(reason: StopReason, detail: str) -> InterruptAgentFlow:
    """What to raise to end the loop for a reason."""
    extra = {"exit_status": reason.value, "detail": detail}
    return InterruptAgentFlow({"role": "exit", "content": detail, "extra": extra})


def clip(text: str, limit: int) -> str:
    """The text, or its beginning and end with a note of how much is left out between."""
    if len(text) <= limit:
        return text
    head, tail = limit - limit // 2, limit // 2
    left_out = len(text) - limit
    return f"{text[:head]}\n[... {left_out} characters left out ...]\n{text[-tail:]}"
