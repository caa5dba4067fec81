"""The agent contract."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import Field, SecretStr

from harness.records import Budget, Event, Instance, Outcome, Record
from harness.sandboxes.base import Bind, Sandbox

GATEWAY_FOLDER = "/run/harness"
GATEWAY_SOCKET = f"{GATEWAY_FOLDER}/gateway.sock"

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
    socket: Path | None = Field(None, description="Unix socket that `base_url` is reached by.")
    decoding: Decoding = Decoding()


class Agent(Protocol):
    """Proposes a patch for an instance. Agents subclass it for its defaults.

    needs_sandbox: `run` gets a sandbox with the repository at its base commit.
    model_in_sandbox: processes in the sandbox call the model; the attempt's gateway is bound there
    at `GATEWAY_FOLDER`, with the socket `GATEWAY_SOCKET`.
    purposes: of model calls that are not its turns, as a summary of the history.
    """

    needs_sandbox: bool = False
    model_in_sandbox: bool = False
    purposes: frozenset[str] = frozenset()

    def prepare(self, on_progress: Callable[[str], None]) -> None:
        """Make what attempts need and this machine lacks. Called before `facts` and `binds`."""
        return

    def binds(self, sandbox_kind: str) -> Sequence[Bind]:
        """What else the sandbox must see of the host, as a toolchain."""
        return ()

    def facts(self) -> Mapping[str, str]:
        """Versions and digests that decide what the agent does, for the run's lock."""
        return {}

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
        """Work on one instance within the budget. Files written to the folder `logs` are kept.

        Agent and model errors end in an `Outcome`; a failing sandbox or endpoint raises
        `SandboxFailure` or `EndpointFailure`, and the attempt is tried again from the start.
        """
        ...


class EndpointFailure(Exception):  # noqa: N818
    """The model endpoint could not be reached or answered with server errors after retries."""
