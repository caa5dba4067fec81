"""Fixtures of the openhands agent's tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.agents.base import Endpoint
from harness.agents.openhands import OpenHandsAgent, OpenHandsOptions
from harness.environments.toolchain import Toolchain, ToolchainMissingError, find_toolchain
from harness.records import Budget, Event, Outcome
from tests.agents.openhands.gateway import Gateway, gateway
from tests.agents.repository import Repository


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """This machine's toolchain; skips where there is none."""
    try:
        return find_toolchain()
    except ToolchainMissingError as error:
        pytest.skip(str(error))


@dataclass
class Attempt:
    """What an attempt left."""

    outcome: Outcome
    events: list[Event]
    logs: Path
    gateway: Gateway

    def texts(self, kind: str) -> list[str]:
        """The texts of the events of a kind."""
        return [event.text for event in self.events if event.kind == kind]


Attempts = Callable[..., Attempt]


@dataclass
class World:
    """Makes attempts on the small repository."""

    repository: Repository
    folder: Path
    events: list[Event] = field(default_factory=list)

    def __call__(
        self,
        *script: Any,
        budget: Budget | None = None,
        context: int | None = None,
        endpoint: dict[str, Any] | None = None,
        files: dict[str, bytes] | None = None,
        **options: Any,
    ) -> Attempt:
        """One attempt against a scripted model; `files` are in the sandbox before."""
        agent = OpenHandsAgent(OpenHandsOptions(**options))
        self.events.clear()
        with (
            gateway(*script, context=context) as served,
            self.repository.sandbox([*agent.binds("process"), served.bind]) as sandbox,
        ):
            for path, data in (files or {}).items():
                sandbox.write(path, data)
            given: Endpoint = served.endpoint.model_copy(update=endpoint or {})
            outcome = agent.run(
                self.repository.instance,
                sandbox=sandbox,
                endpoint=given,
                budget=budget or Budget(),
                seed=1,
                emit=self.events.append,
                logs=self.folder,
            )
        return Attempt(outcome, list(self.events), self.folder, served)


@pytest.fixture
def attempt(repository: Repository, toolchain: Toolchain, tmp_path: Path) -> World:
    """Runs an attempt in a process sandbox."""
    return World(repository, tmp_path)
