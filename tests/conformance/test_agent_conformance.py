"""What every agent promises: one outcome, within the budget, with events in order."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.agents import agent_kinds, make_agent
from harness.agents.answer import AnswerAgent
from harness.agents.base import Agent
from harness.agents.repair import RepairAgent
from harness.environments.toolchain import ToolchainMissingError, find_toolchain
from harness.records import Budget, Event, Instance, Outcome, StopReason, encode_patch
from harness.sandboxes.base import Sandbox
from tests.agents.openhands.gateway import FINISH, gateway, sh
from tests.agents.repair_repository import make_repair_repository
from tests.agents.repository import Repository
from tests.agents.scripted_endpoint import SUBMIT, ScriptedEndpoint, after, bash, scripted

FIX = "echo y > a.py"
DONE = ""
CHOICES = (" clip size", "<0> <=")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return make_repair_repository(tmp_path_factory.mktemp("repository"))


def _kinds() -> list[Any]:
    slow = {"openhands"}
    return [pytest.param(k, marks=[pytest.mark.slow] * (k in slow)) for k in agent_kinds()]


@pytest.fixture(params=_kinds())
def agent(request: pytest.FixtureRequest, repository: Repository, tmp_path: Path) -> Agent:
    options: dict[str, Any] = {}
    if request.param == "openhands":
        try:
            find_toolchain()
        except ToolchainMissingError as error:
            pytest.skip(str(error))
    if request.param == "replay":
        options["predictions"] = tmp_path / "p.jsonl"
        prediction = {
            "instance_id": repository.instance.instance_id,
            "model_name_or_path": "m",
            "model_patch": repository.instance.patch,
        }
        options["predictions"].write_text(json.dumps(prediction) + "\n")
    return make_agent(request.param, options)


Run = Callable[..., tuple[Outcome, list[Event]]]


@pytest.fixture
def run(agent: Agent, repository: Repository) -> Run:
    """Runs the agent the way the contract says: a sandbox and a model for who needs one.

    A script has commands, `DONE`, and callables that give one of these.
    """

    def run(
        *script: Any, budget: Budget | None = None, instance: Instance | None = None, seed: int = 0
    ) -> tuple[Outcome, list[Event]]:
        events: list[Event] = []
        with _world(agent, repository, script) as (sandbox, served):
            outcome = agent.run(
                instance or repository.instance,
                sandbox=sandbox,
                endpoint=served.endpoint if served else None,
                budget=budget or Budget(),
                seed=seed,
                emit=events.append,
                logs=repository.logs,
            )
        return outcome, events

    return run


@contextmanager
def _world(
    agent: Agent, repository: Repository, script: tuple[Any, ...]
) -> Iterator[tuple[Sandbox | None, ScriptedEndpoint | None]]:
    if isinstance(agent, AnswerAgent):
        answers = [_choice(step, repository.instance.patch) for step in script or (FIX,)]
        with scripted(*answers) as answering:
            yield None, answering
        return
    if not agent.needs_sandbox:
        yield None, None
        return
    script = script or (FIX, DONE)
    if isinstance(agent, RepairAgent):
        said = [_choice(step, choice) for step, choice in zip(script, CHOICES, strict=False)]
    else:
        said = [_in_its_words(agent, step) for step in script]
    with ExitStack() as stack:
        if not agent.model_in_sandbox:
            yield stack.enter_context(repository.sandbox()), stack.enter_context(scripted(*said))
            return
        served = stack.enter_context(gateway(*said))
        binds = [*agent.binds("process"), served.bind]
        yield stack.enter_context(repository.sandbox(binds)), served


def _choice(step: Any, choice: str) -> Any:
    """The model says the choice, whatever the script says; as late as it says."""
    return (lambda: (step(), choice)[1]) if callable(step) else choice


def _in_its_words(agent: Agent, step: Any) -> Any:
    if callable(step):
        return lambda: _in_its_words(agent, step())
    if agent.model_in_sandbox:
        return sh(step) if step else FINISH
    return bash(step) if step else SUBMIT


def test_one_outcome(run: Run) -> None:
    outcome, _ = run()
    assert outcome.stop_reason is StopReason.FINISHED
    assert outcome.patch == "" or outcome.patch.startswith("diff --git ")
    assert encode_patch(outcome.patch).endswith(b"\n") or not outcome.patch


def test_events_come_in_order_and_say_something(run: Run) -> None:
    _, events = run()
    assert events
    assert [event.step for event in events] == sorted(event.step for event in events)
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)
    assert all(event.text for event in events)
    for event in events:
        assert Event.model_validate_json(event.model_dump_json()) == event


def test_the_turn_cap_holds(run: Run) -> None:
    outcome, events = run(*(f"echo {n}" for n in range(9)), budget=Budget(turns=2))
    assert outcome.usage.turns <= 2
    assert max(event.step for event in events) <= 2
    assert outcome.stop_reason in (StopReason.FINISHED, StopReason.TURN_CAP)


def test_the_wall_clock_holds(run: Run) -> None:
    began = time.monotonic()
    outcome, _ = run(after(120, FIX), budget=Budget(wall_clock_seconds=1))
    assert time.monotonic() - began < 90
    assert outcome.stop_reason in (StopReason.FINISHED, StopReason.WALL_CLOCK)


def test_the_same_seed_repeats_the_attempt(run: Run) -> None:
    first, second = run(seed=3), run(seed=3)
    assert first[0] == second[0]
    assert [(e.kind, e.step, e.text) for e in first[1]] == [
        (e.kind, e.step, e.text) for e in second[1]
    ]


def test_an_agent_can_be_used_for_many_instances(run: Run, repository: Repository) -> None:
    before, _ = run()
    other = repository.instance.model_copy(
        update={"instance_id": "owner__pkg-2", "patch": "diff --git a/b b/b\n"}
    )
    run(instance=other)
    assert run()[0] == before
