"""The agent that does nothing: it proposes an empty patch."""

from pathlib import Path

from harness.agents.base import Agent, Emit, Endpoint
from harness.records import Budget, Event, Instance, Outcome, Record, StopReason
from harness.sandboxes.base import Sandbox


class NoopOptions(Record):
    """The no-op agent has no options."""


class NoopAgent(Agent):
    """Proposes no change; whatever it resolves is a fault of the grading."""

    def __init__(self, options: NoopOptions) -> None:
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
        emit(Event(step=0, seconds=0, kind="note", text="no change"))
        return Outcome(patch="", stop_reason=StopReason.FINISHED)
