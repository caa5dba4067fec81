"""The agent that knows the answer: it proposes the instance's gold patch."""

from pathlib import Path

from harness.agents.base import Agent, Emit, Endpoint
from harness.records import Budget, Event, Instance, Outcome, Record, StopReason
from harness.sandboxes.base import Sandbox


class GoldOptions(Record):
    """The gold agent has no options."""


class GoldAgent(Agent):
    """Proposes the gold patch; whatever it does not resolve is a fault of the environment."""

    def __init__(self, options: GoldOptions) -> None:
        pass

    def run(
        self,
        instance: Instance,
        *,
        sandbox: Sandbox | None,
        endpoint: Endpoint | None,
        budget: Budget,
        seed: int,
        emit: Emit,
        logs: Path,
    ) -> Outcome:
        """See `Agent.run`."""
        emit(Event(step=0, seconds=0, kind="note", text="the gold patch of the instance"))
        return Outcome(patch=instance.patch, stop_reason=StopReason.FINISHED)
