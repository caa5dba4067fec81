"""The agent contract."""

from collections.abc import Callable
from typing import Protocol

from pydantic import Field, SecretStr

from harness.records import Budget, Event, Instance, Outcome, Record
from harness.sandboxes.base import Sandbox

Emit = Callable[[Event], None]


class Decoding(Record):
    """How the model samples. Source: CHOP App. K."""

    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1, description="Generated tokens of one call.")


class Endpoint(Record):
    """An OpenAI-compatible model endpoint."""

    base_url: str
    model: str
    api_key: SecretStr | None = None
    decoding: Decoding = Decoding()


class Agent(Protocol):
    """Proposes a patch for an instance."""

    @property
    def needs_sandbox(self) -> bool:
        """Whether `run` gets a sandbox with the repository at its base commit."""
        ...

    def run(
        self,
        instance: Instance,
        *,
        sandbox: Sandbox | None,
        endpoint: Endpoint | None,
        budget: Budget,
        seed: int,
        emit: Emit,
    ) -> Outcome:
        """Work on one instance within the budget.

        Agent and model errors end in an `Outcome`; a failing sandbox or endpoint raises
        `SandboxFailure` or `EndpointFailure`, and the attempt is tried again from the start.
        """
        ...


class EndpointFailure(Exception):  # noqa: N818
    """The model endpoint could not be reached or answered with server errors after retries."""
