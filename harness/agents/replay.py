"""The agent that proposes what another one proposed before."""

from pathlib import Path

from harness.agents.base import Agent, Emit, Endpoint
from harness.agents.predictions import load_predictions
from harness.records import Budget, Event, Instance, Outcome, Record, StopReason
from harness.sandboxes.base import Sandbox

__all__ = ["ReplayAgent", "ReplayOptions", "load_predictions"]


class ReplayOptions(Record):
    """Options of the replay agent."""

    predictions: Path


class ReplayAgent(Agent):
    """Proposes recorded patches; an instance without one gets an empty patch and a detail."""

    def __init__(self, options: ReplayOptions) -> None:
        """Reads the file at once. Raises SuiteError when it is missing or damaged."""
        self._predictions = load_predictions(options.predictions)

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
        patch = self._predictions.patches.get(instance.instance_id)
        if patch is None:
            detail = "no prediction"
        else:
            detail = f"recorded patch of {self._predictions.models[instance.instance_id]}"
        emit(Event(step=0, seconds=0, kind="note", text=detail))
        return Outcome(patch=patch or "", stop_reason=StopReason.FINISHED, detail=detail)
