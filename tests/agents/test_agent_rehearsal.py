"""A gold patch played through an agent's tools."""

import json
from typing import Any

import httpx
import pytest

from harness.agents import make_agent
from harness.agents.rehearsal import rehearsal_endpoint, script
from harness.records import Budget, Event, StopReason
from tests.agents.repository import Repository
from tests.conftest import make_instance

EDIT = """diff --git a/a.py b/a.py
--- a/a.py
+++ b/a.py
@@ -1 +1,2 @@
 x
+y
"""
REPLACED = EDIT.replace(" x", "-x").replace("+1,2", "+1")
INDENTED = REPLACED.replace("-x", "-  x")
NEW_FILE = """diff --git a/b.py b/b.py
new file mode 100644
--- /dev/null
+++ b/b.py
@@ -0,0 +1 @@
+z
"""


def changes(patch: str) -> list[str]:
    """The added and removed lines of a patch."""
    lines = (line for line in patch.splitlines() if line[:1] in ("+", "-"))
    return [line for line in lines if line[:3] not in ("+++", "---")]


@pytest.mark.parametrize("patch", [EDIT, EDIT + NEW_FILE, REPLACED])
def test_an_agent_plays_the_gold_patch(repository: Repository, patch: str) -> None:
    instance = repository.instance.model_copy(
        update={"patch": patch, "problem_statement": "A statement of its own."}
    )
    events: list[Event] = []
    others = [make_instance(problem_statement="Another statement."), instance]
    with rehearsal_endpoint(others) as endpoint, repository.sandbox() as sandbox:
        outcome = make_agent("mini", {}).run(
            instance,
            sandbox=sandbox,
            endpoint=endpoint,
            budget=Budget(),
            seed=0,
            emit=events.append,
            logs=repository.logs,
        )
    assert outcome.stop_reason is StopReason.FINISHED
    assert changes(outcome.patch) == changes(patch)
    assert outcome.usage.turns == len(script(instance))


def test_edits_that_would_lose_their_indentation_are_applied_as_a_patch() -> None:
    tools = [call.tool for call in script(make_instance(patch=INDENTED))]
    assert tools == ["terminal", "file_editor", "terminal", "terminal", "finish"]
    tools = [call.tool for call in script(make_instance(patch=EDIT))]
    assert tools == ["terminal", "file_editor", "file_editor", "terminal", "finish"]


def ask(base_url: str, **body: Any) -> Any:
    return httpx.post(f"{base_url}/chat/completions", json=body).json()


def test_the_agents_prompt_decides_on_the_protocol() -> None:
    instance = make_instance(patch=EDIT)
    issue = {"role": "user", "content": [{"type": "text", "text": instance.problem_statement}]}
    properties: dict[str, Any] = {"command": {}, "summary": {}}
    parameters = {"properties": properties, "required": ["command", "summary"]}
    tool = {"type": "function", "function": {"name": "terminal", "parameters": parameters}}
    with rehearsal_endpoint([instance]) as endpoint:
        native = ask(endpoint.base_url, messages=[issue], tools=[tool])
        system = {"role": "system", "content": "call <function=terminal>"}
        text = ask(endpoint.base_url, messages=[system, issue])
        other = ask(endpoint.base_url, messages=[{"role": "user", "content": "hello"}])
        wrong = ask(endpoint.base_url, messages=5)
    call = native["choices"][0]["message"]["tool_calls"][0]["function"]
    assert call["name"] == "terminal"
    assert json.loads(call["arguments"]).keys() == {"command", "summary"}
    content = text["choices"][0]["message"]["content"]
    assert "<function=terminal>\n<parameter=command>cd " in content
    assert "no instance" in other["choices"][0]["message"]["content"]
    assert "not a chat request" in wrong["error"]["message"]
