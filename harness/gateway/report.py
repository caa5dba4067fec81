"""What an attempt's gateway says in the end."""

from harness.records import ModelCalls, Record, StopReason, Usage


class DoorReport(Record):
    """What went through an attempt's door.

    ended: why the model was lost to the attempt, if it was. `TURN_CAP`, `TOKEN_CAP`: a call of the
    agent was refused for its budget, or its last one did not fit into the model's context.
    `INFRASTRUCTURE`: the endpoint failed for good, or was failing when the attempt gave up on it.
    """

    usage: Usage
    calls: ModelCalls
    ended: StopReason | None
    detail: str


class Ending:
    """Gathers what `DoorReport.ended` is made of."""

    def __init__(self) -> None:
        self.failure: str | None = None
        self._refusal: tuple[StopReason, str] | None = None
        self._passing: tuple[StopReason, str] | None = None

    def failed(self, detail: str) -> None:
        """The endpoint, or the gateway itself, failed for good."""
        self.failure = self.failure or detail

    def refused(self, reason: StopReason, detail: str) -> None:
        """A call of the agent was over the budget."""
        self._refusal = (reason, detail)

    def overflowed(self, detail: str) -> None:
        """A call did not fit into the model's context; a shorter one may."""
        self._passing = (StopReason.TOKEN_CAP, f"the context is full: {detail}")

    def interrupted(self, detail: str) -> None:
        """The agent gave up on a call while the endpoint was failing."""
        self._passing = (StopReason.INFRASTRUCTURE, f"{detail}, until the agent gave up")

    def answered(self) -> None:
        """A call was answered."""
        self._passing = None

    @property
    def result(self) -> tuple[StopReason | None, str]:
        """The reason and its detail."""
        if self.failure is not None:
            return StopReason.INFRASTRUCTURE, self.failure
        return self._refusal or self._passing or (None, "")
