"""What a conversation is asked to be."""

import json
from typing import Any

import pytest

from harness.agents import AgentConfigError, make_agent
from harness.agents.base import Decoding, Endpoint
from harness.agents.openhands.options import OpenHandsOptions
from harness.agents.openhands.prompts import load_prompt
from harness.agents.openhands.spec import Spec, make_spec
from harness.records import Budget

ENDPOINT = Endpoint.model_validate(
    {"base_url": "http://gateway/v1", "model": "gpt-5", "api_key": "sk-very-secret"}
)


def spec(issue: str = "It fails.", context: int | None = None, **options: Any) -> Spec:
    chosen = OpenHandsOptions(**options)
    return make_spec(
        chosen,
        load_prompt("standard" if chosen.prompt == "auto" else chosen.prompt),
        issue,
        endpoint=ENDPOINT.model_copy(update={"decoding": Decoding(max_tokens=1000)}),
        base_url="http://gateway/v1",
        context=context,
        budget=Budget(turns=7, wall_clock_seconds=90),
        seed=3,
    )


def test_defaults() -> None:
    made = spec()
    assert [tool["name"] for tool in made.agent["tools"]] == [
        "terminal",
        "file_editor",
        "task_tracker",
    ]
    assert made.agent["include_default_tools"] == ["FinishTool", "ThinkTool"]
    assert made.modules[0] == "openhands.tools.terminal"
    assert "system_prompt" not in made.agent
    assert "condenser" not in made.agent
    assert made.agent["llm"]["temperature"] == 0.7
    assert made.agent["llm"]["seed"] == 3
    assert (made.turns, made.wall_clock_seconds) == (7, 90)


def test_it_holds_no_key_and_no_models_name() -> None:
    text = spec(condenser={}).model_dump_json()
    assert "secret" not in text
    assert "gpt-5" not in text


def test_tools_can_be_chosen() -> None:
    made = spec(tools=["file_editor", "grep"])
    assert [tool["name"] for tool in made.agent["tools"]] == ["file_editor", "grep"]
    assert made.modules == ("openhands.tools.file_editor", "openhands.tools.grep")


def test_commands_environment() -> None:
    terminal = spec(env={"A": "1"}, no_change_seconds=9).agent["tools"][0]["params"]
    assert terminal["env"] == {"A": "1"}
    assert terminal["no_change_timeout_seconds"] == 9


@pytest.mark.parametrize(
    ("sizes", "context", "tokens"),
    [({}, None, None), ({}, 8192, 7192), ({"max_tokens": 500}, 8192, 500), ({}, 10, 1)],
)
def test_the_condenser(sizes: dict[str, int], context: int | None, tokens: int | None) -> None:
    made = spec(condenser=sizes, context=context).agent["condenser"]
    assert made["max_tokens"] == tokens
    assert made["llm"]["extra_headers"] == {"X-Harness-Purpose": "condenser"}
    assert made["llm"]["usage_id"] == "condenser"


def test_the_issue_is_text_and_no_template() -> None:
    made = spec("{{ 7 * 7 }} {% raw %} </issue> \ud800")
    assert "{{ 7 * 7 }} {% raw %} </issue> ?" in made.task
    json.dumps(made.model_dump(mode="json")).encode()


def test_a_long_issue_loses_its_middle_in_the_short_prompt() -> None:
    made = spec("a" * 9000 + "the end", prompt="short")
    assert len(made.task) < 5000
    assert "the end" in made.task
    assert len(spec("a" * 9000).task) > 9000
    assert "terminal tool" in made.agent["system_prompt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condensor": {}}, "condenser"),
        ({"condenser": {"max_size": 8, "keep_first": 4}}, "keep_first"),
        ({"tools": ["browser"]}, "tools"),
        ({"transport": "http"}, "transport"),
        ({"nudges": -1}, "nudges"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentConfigError, match=message):
        make_agent("openhands", options)


def test_only_a_condenser_makes_calls_that_are_no_turns() -> None:
    assert make_agent("openhands", {}).purposes == frozenset()
    assert make_agent("openhands", {"condenser": {}}).purposes == {"condenser"}
