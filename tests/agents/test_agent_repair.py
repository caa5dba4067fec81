"""The repair agent against a scripted endpoint, in a real sandbox."""

from pathlib import Path
from typing import Any

import pytest

from harness.agents import AgentConfigError, make_agent
from harness.agents.base import EndpointFailure
from harness.agents.repair.pi import PITextError
from harness.records import Budget, Event, Instance, Outcome, StopReason
from tests.agents.repair_repository import FIXED, SOURCE, make_repair_repository
from tests.agents.repository import Repository
from tests.agents.scripted_endpoint import ScriptedEndpoint, Step, after, scripted

STATE = "<issue>TypeError in pad, put: bad operand<funcs> get, box get, pad, clip size<act>"
CODE = (
    "<code>def clip_size(value, low, high):\nif value <<0> low:\n"
    "return min<1>(value, high) if <2>high else value -<3> 1<4><act>"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return make_repair_repository(tmp_path_factory.mktemp("repair"))


def attempt(
    repository: Repository,
    *script: Step,
    budget: Budget | None = None,
    statement: str | None = None,
    instance: Instance | None = None,
    **options: Any,
) -> tuple[Outcome, list[Event], ScriptedEndpoint]:
    events: list[Event] = []
    instance = instance or repository.instance
    if statement is not None:
        instance = instance.model_copy(update={"problem_statement": statement})
    with scripted(*script) as endpoint, repository.sandbox() as sandbox:
        outcome = make_agent("repair", options).run(
            instance,
            sandbox=sandbox,
            endpoint=endpoint.endpoint,
            budget=budget or Budget(),
            seed=0,
            emit=events.append,
            logs=repository.logs,
        )
    return outcome, events, endpoint


def test_an_attempt_from_statement_to_patch(repository: Repository) -> None:
    outcome, events, endpoint = attempt(repository, " clip size", "<0> <=")
    assert (outcome.stop_reason, outcome.detail) == (StopReason.FINISHED, "")
    lines = [line for line in outcome.patch.split("\n") if line.startswith(("+", "-"))]
    assert lines == [
        "--- a/src/box.py",
        "+++ b/src/box.py",
        "-    if value < low:  # é",
        "+    if value <= low:  # é",
    ]
    assert (outcome.usage.turns, outcome.usage.tool_calls) == (2, 2)
    assert (outcome.usage.prompt_tokens, outcome.usage.generated_tokens) == (200, 20)
    first, second = endpoint.requests
    assert first["messages"] == [{"role": "user", "content": STATE}]
    assert first["structured_outputs"] == {"choice": [" get", " box get", " pad", " clip size"]}
    assert second["messages"] == [
        {"role": "user", "content": STATE},
        {"role": "assistant", "content": " clip size"},
        {"role": "user", "content": CODE},
    ]
    assert second["structured_outputs"]["choice"][:2] == ["<0> <=", "<0> >"]
    assert [(one.kind, one.step) for one in events] == [
        ("user", 0),
        ("assistant", 1),
        ("action", 1),
        ("observation", 1),
        ("assistant", 2),
        ("action", 2),
        ("observation", 2),
    ]
    assert (events[0].text, events[3].text) == (STATE, CODE)


def test_the_gold_policy_leaves_the_model_no_other_choice(repository: Repository) -> None:
    outcome, _, endpoint = attempt(repository, " clip size", "<0> <=", policy="gold")
    assert [one["structured_outputs"]["choice"] for one in endpoint.requests] == [
        [" clip size"],
        ["<0> <="],
    ]
    assert outcome.stop_reason is StopReason.FINISHED
    assert SOURCE.replace("value < low", "value <= low") == FIXED


def test_a_gold_patch_of_another_kind_has_no_gold_policy(repository: Repository) -> None:
    patch = repository.instance.patch
    other = {
        "changes not src/box.py alone": patch.replace("src/box.py", "src/other.py"),
        "is no edit of a function in src/box.py": patch.replace(
            "+    if value <= low", "+    if value == low"
        ),
        "does not apply": patch.replace("-    if value", "-    if another"),
    }
    for problem, wrong in other.items():
        instance = repository.instance.model_copy(update={"patch": wrong})
        outcome, events, endpoint = attempt(repository, "x", instance=instance, policy="gold")
        assert outcome.stop_reason is StopReason.AGENT_ERROR
        assert problem in outcome.detail
        assert not endpoint.requests
        assert events[0].text == outcome.detail


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"TypeError": "It does not work at all"}, "none of the repair task's"),
        ({"src/box.py": "src/absent.py"}, "src/absent.py: FileNotFoundError"),
        ({"src/box.py": "src"}, "src: "),
        ({"src/box.py": "broken.py"}, "broken.py: RepairSourceError: no Python file: SyntaxError"),
        ({"src/box.py": "latin.py"}, "latin.py: UnicodeDecodeError"),
        ({"`get`": "`absent`"}, "it has no function absent with places"),
        ({"`get`": "`twice`"}, "it has no function twice with places that can be edited, once"),
        ({"`get`": "`Box.getIt`", "`pad`": "`Box.get_it`"}, "have the same words"),
    ],
)
def test_what_is_no_repair_task_is_an_agent_error(
    repository: Repository, changes: dict[str, str], problem: str
) -> None:
    statement = repository.instance.problem_statement
    for old, new in changes.items():
        statement = statement.replace(old, new)
    outcome, _, endpoint = attempt(repository, "x", statement=statement)
    assert outcome.stop_reason is StopReason.AGENT_ERROR
    assert problem in outcome.detail
    assert not endpoint.requests
    assert outcome.patch == ""


def test_an_answer_that_is_no_choice_ends_the_attempt(repository: Repository) -> None:
    for script in ([" clip"], [" clip size", "<9> <"]):
        outcome, events, _ = attempt(repository, *script)
        assert outcome.stop_reason is StopReason.AGENT_ERROR
        assert "is none of the" in outcome.detail
        assert "structured_outputs" in outcome.detail
        assert events[-1].kind == "note"
        assert outcome.patch == ""


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(turns=1), StopReason.TURN_CAP),
        (Budget(tokens=10), StopReason.TOKEN_CAP),
        (Budget(wall_clock_seconds=0.5), StopReason.WALL_CLOCK),
    ],
)
def test_budgets(repository: Repository, budget: Budget, reason: StopReason) -> None:
    outcome, _, _ = attempt(repository, " clip size", after(0.6, "<0> <="), budget=budget)
    assert outcome.stop_reason is reason
    assert outcome.patch == ""


def test_an_endpoint_without_constraints_is_no_fault_of_the_model(repository: Repository) -> None:
    with pytest.raises(EndpointFailure, match="400"):
        attempt(repository, 400)


def test_a_full_context_is_told_apart(repository: Repository) -> None:
    body = {"error": {"message": "full", "code": "context_length_exceeded"}}
    outcome, _, _ = attempt(repository, {"status": 400, "body": body})
    assert outcome.stop_reason is StopReason.TOKEN_CAP


def test_it_needs_a_sandbox_and_an_endpoint(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a sandbox"):
        make_agent("repair", {}).run(
            repository.instance,
            sandbox=None,
            endpoint=None,
            budget=Budget(),
            seed=0,
            emit=lambda event: None,
            logs=tmp_path,
        )


def test_pi_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AgentConfigError, match="needs pi_records"):
        make_agent("repair", {"pi": "given"})
    path = tmp_path / "pi.jsonl"
    options = {"pi": "given", "pi_records": path, "pi_source": "gold_patch"}
    with pytest.raises(PITextError, match="not a file of PI records"):
        make_agent("repair", options)
    path.write_text("")
    with pytest.raises(PITextError, match="source gold_patch: no record"):
        make_agent("repair", options)
