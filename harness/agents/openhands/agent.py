"""The OpenHands agent: the SDK's own, in the sandbox, on a toolchain that the sandbox sees."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.agents.base import Agent, Emit, Endpoint, EndpointFailure
from harness.agents.chat import ChatClient, OutOfTimeError
from harness.agents.openhands import exec as by_exec
from harness.agents.openhands.options import OpenHandsOptions
from harness.agents.openhands.prompts import load_prompt
from harness.agents.openhands.recorder import Recorder
from harness.agents.openhands.spec import CONDENSER, Ending, Spec, make_spec
from harness.environments.toolchain import ensure_toolchain, find_toolchain, toolchain_bind
from harness.records import Budget, Instance, Outcome, StopReason
from harness.sandboxes.base import Bind, Sandbox

SHORT_CONTEXT = 16384  # tokens; models with no more get the short prompt
_LISTING_SECONDS = 30.0


class OpenHandsAgent(Agent):
    """One conversation of the OpenHands SDK on an instance.

    Whatever ends the attempt, its patch is the work tree's difference from the base commit, taken
    from outside.
    """

    needs_sandbox = True
    model_in_sandbox = True

    def __init__(self, options: OpenHandsOptions) -> None:
        self._options = options
        if options.condenser is not None:
            self.purposes = frozenset({CONDENSER})

    def prepare(self, on_progress: Callable[[str], None]) -> None:
        """Build the toolchain where there is none. Raises ImageError."""
        ensure_toolchain(on_progress)

    def binds(self, sandbox_kind: str) -> Sequence[Bind]:
        """The toolchain. Raises ToolchainMissingError."""
        return (toolchain_bind(find_toolchain(), sandbox_kind),)

    def facts(self) -> Mapping[str, str]:
        """The toolchain and what is in it. Raises ToolchainMissingError."""
        toolchain = find_toolchain()
        return {"toolchain": toolchain.digest, **toolchain.versions}

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
        """See `Agent.run`. Raises ValueError without a sandbox or an endpoint."""
        if sandbox is None or endpoint is None:
            raise ValueError("the openhands agent needs a sandbox and a model endpoint")
        context = _context(endpoint)
        variant = self._options.prompt
        if variant == "auto":
            variant = "short" if (context or SHORT_CONTEXT + 1) <= SHORT_CONTEXT else "standard"
        spec = make_spec(
            self._options,
            load_prompt(variant),
            instance.problem_statement,
            endpoint=endpoint,
            base_url=endpoint.base_url,
            context=context,
            budget=budget,
            seed=seed,
        )
        with Recorder(emit, logs, most_turns=budget.turns) as recorder:
            ending = self._converse(sandbox, spec, recorder, logs, endpoint)
            said = f"{ending.reason}: {ending.detail}" if ending.detail else ending.reason
            recorder.note(said, **ending.figures)
        reason, detail, patch = ending.reason, ending.detail, ""
        if reason is StopReason.INFRASTRUCTURE:
            reason = StopReason.AGENT_ERROR  # an agent may forge this; the gateway knows better
        try:
            patch = sandbox.diff(instance.base_commit)
        except ValueError as error:
            reason = StopReason.AGENT_ERROR
            detail = f"the agent made the repository unreadable: {error}"
        return Outcome(patch=patch, stop_reason=reason, detail=detail, usage=ending.usage)

    def _converse(
        self, sandbox: Sandbox, spec: Spec, recorder: Recorder, logs: Path, endpoint: Endpoint
    ) -> Ending:
        if self._options.transport == "exec":
            return by_exec.converse(sandbox, spec, recorder, logs)
        if endpoint.socket is None:
            raise ValueError("the server transport needs an endpoint behind a gateway's socket")
        from harness.agents.openhands import server as by_server

        folder = endpoint.socket.parent
        return by_server.converse(sandbox, spec, recorder, logs, socket_folder=folder)


def _context(endpoint: Endpoint) -> int | None:
    with ChatClient(endpoint) as client:
        try:
            return client.context_length(timeout=_LISTING_SECONDS)
        except OutOfTimeError as error:
            raise EndpointFailure(f"the endpoint does not list its models: {error}") from error
