"""The mini agent against a scripted endpoint, in a real sandbox."""

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from harness.agents import make_agent
from harness.agents.base import Decoding, EndpointFailure
from harness.agents.mini import load_prompts
from harness.records import Budget, Event, Outcome, StopReason
from tests.agents.repository import Repository
from tests.agents.scripted_endpoint import (
    SUBMIT,
    ScriptedEndpoint,
    after,
    bash,
    scripted,
)

FIX = bash("echo y > a.py && cat a.py")


def attempt(
    repository: Repository,
    endpoint: ScriptedEndpoint,
    *,
    budget: Budget | None = None,
    decoding: Decoding | None = None,
    **options: Any,
) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    served = endpoint.endpoint
    if decoding is not None:
        served = served.model_copy(update={"decoding": decoding})
    with repository.sandbox() as sandbox:
        outcome = make_agent("mini", options).run(
            repository.instance,
            sandbox=sandbox,
            endpoint=served,
            budget=budget or Budget(),
            seed=0,
            emit=events.append,
            logs=repository.logs,
        )
    return outcome, events


def tool_call(*commands: str, name: str = "bash", key: str = "command") -> dict[str, Any]:
    return {
        "content": "I call the tool.",
        "finish_reason": "tool_calls",
        "tool_calls": [
            {
                "id": f"call-{number}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps({key: command})},
            }
            for number, command in enumerate(commands)
        ],
    }


def test_an_attempt_from_prompt_to_patch(repository: Repository) -> None:
    with scripted(FIX, SUBMIT) as endpoint:
        outcome, events = attempt(repository, endpoint)
    assert outcome.stop_reason is StopReason.FINISHED
    assert outcome.patch.startswith("diff --git a/a.py b/a.py")
    assert "\n-x\n+y\n" in outcome.patch
    usage = outcome.usage
    assert (usage.turns, usage.tool_calls) == (2, 2)
    assert (usage.prompt_tokens, usage.generated_tokens) == (200, 20)
    kinds = [(event.kind, event.step) for event in events]
    assert kinds == [
        ("system", 0),
        ("user", 0),
        ("assistant", 1),
        ("action", 1),
        ("observation", 1),
        ("assistant", 2),
        ("action", 2),
        ("note", 2),
    ]
    assert repository.instance.problem_statement in events[1].text
    assert events[3].text == "echo y > a.py && cat a.py"
    assert events[4].text == "<returncode>0</returncode>\n<output>\ny\n\n</output>"
    assert events[4].data["returncode"] == 0
    assert events[-1].text == "finished"


def test_what_is_sent(repository: Repository) -> None:
    with scripted(FIX, SUBMIT) as endpoint:
        attempt(repository, endpoint, decoding=Decoding(max_tokens=77))
    first, second = endpoint.requests
    assert first["model"] == "scripted"
    assert first["max_tokens"] == 77
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert second["messages"][:2] == first["messages"]
    assert second["messages"][2] == {"role": "assistant", "content": FIX}
    assert [message["role"] for message in second["messages"][2:]] == ["assistant", "user"]
    assert all(set(m) == {"role", "content"} for m in second["messages"])
    assert "stop" not in first
    assert "tools" not in first


def test_turn_cap_keeps_the_work(repository: Repository) -> None:
    with scripted(*(bash(f"echo {n} >> a.py") for n in range(9))) as endpoint:
        outcome, _ = attempt(repository, endpoint, budget=Budget(turns=3))
    assert outcome.stop_reason is StopReason.TURN_CAP
    assert len(endpoint.requests) == outcome.usage.turns == 3
    assert "+2\n" in outcome.patch
    assert "+3\n" not in outcome.patch


def test_wall_clock_ends_a_model_call(repository: Repository) -> None:
    began = time.monotonic()
    with scripted(FIX, after(30, SUBMIT)) as endpoint:
        outcome, _ = attempt(repository, endpoint, budget=Budget(wall_clock_seconds=2))
    assert outcome.stop_reason is StopReason.WALL_CLOCK
    assert "in a model call" in outcome.detail
    assert time.monotonic() - began < 20
    assert "+y\n" in outcome.patch


def test_wall_clock_ends_a_command(repository: Repository) -> None:
    began = time.monotonic()
    with scripted(bash("echo y > a.py; sleep 1000"), SUBMIT) as endpoint:
        outcome, events = attempt(repository, endpoint, budget=Budget(wall_clock_seconds=2))
    assert outcome.stop_reason is StopReason.WALL_CLOCK
    assert time.monotonic() - began < 40
    assert [event.data["timed_out"] for event in events if event.kind == "observation"] == [True]
    assert len(endpoint.requests) == 1
    assert "+y\n" in outcome.patch


def test_a_slow_command_is_killed_and_shown(repository: Repository) -> None:
    with scripted(bash("echo begun; sleep 1000"), SUBMIT) as endpoint:
        outcome, events = attempt(repository, endpoint, command_seconds=1)
    assert outcome.stop_reason is StopReason.FINISHED
    (seen,) = [event.text for event in events if event.kind == "observation"]
    assert "killed after 1 s" in seen
    assert "begun" in seen


def test_token_budget(repository: Repository) -> None:
    with scripted(bash("true"), bash("false")) as endpoint:
        outcome, _ = attempt(repository, endpoint, budget=Budget(tokens=15))
    assert outcome.stop_reason is StopReason.TOKEN_CAP
    assert [request["max_tokens"] for request in endpoint.requests] == [15, 5]


def test_context_overflow(repository: Repository) -> None:
    body = {"error": {"message": "This model's maximum context length is 9 tokens.", "code": 400}}
    with scripted(FIX, {"status": 400, "body": body}) as endpoint:
        outcome, _ = attempt(repository, endpoint)
    assert outcome.stop_reason is StopReason.TOKEN_CAP
    assert "maximum context length is 9" in outcome.detail
    assert "+y\n" in outcome.patch


def test_repeating_itself_is_stuck(repository: Repository) -> None:
    with scripted(bash("ls", "one"), bash("ls", "two"), bash("ls", "same")) as endpoint:
        outcome, events = attempt(repository, endpoint)
    assert outcome.stop_reason is StopReason.STUCK
    assert len(endpoint.requests) == 6
    assert len([event for event in events if event.kind == "action"]) == 5


def test_unusable_answers(repository: Repository) -> None:
    two = bash("ls") + "\n" + bash("pwd")
    with scripted("no block", two, FIX, "no", "no", "no") as endpoint:
        outcome, events = attempt(repository, endpoint)
    assert outcome.stop_reason is StopReason.AGENT_ERROR
    assert "3 unusable answers in a row" in outcome.detail
    assert outcome.usage.turns == 6
    assert "+y\n" in outcome.patch
    replies = [event.text for event in events if event.kind == "user"][1:]
    assert "found 0" in replies[0]
    assert "found 2" in replies[1]
    roles = [message["role"] for message in endpoint.requests[-1]["messages"]]
    assert roles == ["system", "user"] + ["assistant", "user"] * 5


def test_an_answer_cut_off_by_the_token_limit_is_told_so(repository: Repository) -> None:
    cut = {"content": "THOUGHT: on and on", "finish_reason": "length"}
    with scripted(cut, SUBMIT) as endpoint:
        _, events = attempt(repository, endpoint)
    assert "was cut off" in [event.text for event in events if event.kind == "user"][1]


def test_long_output_and_long_issue_lose_their_middle(repository: Repository) -> None:
    with scripted(
        bash("seq 100000", fence="bash"), SUBMIT.replace("mswea_bash_command", "bash")
    ) as (endpoint):
        _, events = attempt(repository, endpoint, prompt="short")
    (seen,) = [event for event in events if event.kind == "observation"]
    assert len(seen.text) < 1700
    assert "characters left out" in seen.text
    assert seen.text.splitlines()[2] == "1"
    assert "100000" in seen.text
    assert seen.data["output_bytes"] == 588895


@pytest.mark.parametrize(
    ("context", "short"), [(8192, True), (16384, True), (32768, False), (None, False)]
)
def test_the_prompt_follows_the_context(
    repository: Repository, context: int | None, short: bool
) -> None:
    with scripted(SUBMIT, context=context) as endpoint:
        attempt(repository, endpoint, budget=Budget(turns=1))
    expected = load_prompts("short" if short else "standard").system
    assert endpoint.requests[0]["messages"][0]["content"] == expected.strip()
    assert ("stop" in endpoint.requests[0]) == short


def test_a_block_ended_by_the_stop_string_is_closed(repository: Repository) -> None:
    cut = bash("echo y > a.py", fence="bash").removesuffix("\n```")
    done = bash("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", fence="bash")
    with scripted(cut, done, context=8192) as endpoint:
        outcome, _ = attempt(repository, endpoint)
    assert outcome.stop_reason is StopReason.FINISHED
    assert endpoint.requests[1]["messages"][2]["content"] == cut + "\n```"


def test_native_tool_calls(repository: Repository) -> None:
    script = (
        tool_call("echo y > a.py", "cat a.py", "false"),
        tool_call("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"),
    )
    with scripted(*script) as endpoint:
        outcome, events = attempt(repository, endpoint, prompt="tools")
    assert outcome.stop_reason is StopReason.FINISHED
    assert outcome.usage.tool_calls == 4
    first, second = endpoint.requests
    assert [tool["function"]["name"] for tool in first["tools"]] == ["bash"]
    assistant, *answers = second["messages"][2:]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call-0", "call-1", "call-2"]
    assert [(one["role"], one["tool_call_id"]) for one in answers] == [
        ("tool", "call-0"),
        ("tool", "call-1"),
        ("tool", "call-2"),
    ]
    assert [e.data["returncode"] for e in events if e.kind == "observation"] == [0, 0, 1]


def test_tool_calls_of_a_turn_are_capped(repository: Repository) -> None:
    many = tool_call(*(f"echo {n} >> a.py" for n in range(5)))
    with scripted(many) as endpoint:
        outcome, events = attempt(
            repository, endpoint, budget=Budget(turns=1, tool_calls_per_turn=3), prompt="tools"
        )
    assert outcome.usage.tool_calls == 3
    assert "+2\n" in outcome.patch
    assert "+3\n" not in outcome.patch
    seen = [event.text for event in events if event.kind == "observation"]
    assert len(seen) == 5
    assert "action was not executed" in seen[3]


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (tool_call("ls", name="browser"), "Unknown tool 'browser'"),
        (tool_call("ls", key="cmd"), "Missing 'command'"),
        ({"content": "just words"}, "No tool calls found"),
    ],
)
def test_bad_tool_calls(repository: Repository, message: dict[str, Any], complaint: str) -> None:
    with scripted(message, tool_call("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")) as endpoint:
        outcome, events = attempt(repository, endpoint, prompt="tools")
    assert outcome.stop_reason is StopReason.FINISHED
    assert complaint in [event.text for event in events if event.kind == "user"][1]
    assert "tool_calls" not in endpoint.requests[1]["messages"][2]


def test_a_file_that_prints_the_sentinel_submits_nothing(repository: Repository) -> None:
    plant = bash("printf 'COMPLETE_TASK_AND_SUBMIT_FINAL_' > b; echo OUTPUT >> b")
    with scripted(plant, bash("cat b"), SUBMIT) as endpoint:
        outcome, _ = attempt(repository, endpoint)
    assert outcome.usage.turns == 3


def test_a_failing_submission_is_none(repository: Repository) -> None:
    failing = bash("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat nothing")
    with scripted(failing, SUBMIT) as endpoint:
        outcome, _ = attempt(repository, endpoint)
    assert outcome.usage.turns == 2


def test_templates_in_an_issue_stay_text(repository: Repository) -> None:
    hostile = repository.instance.model_copy(
        update={"problem_statement": "{{ 7 * 7 }} {% raw %} {{ config }}"}
    )
    other = Repository(hostile, repository.image, repository.provider)
    with scripted(bash("echo '{{ 6 * 7 }}'"), SUBMIT) as endpoint:
        _, events = attempt(other, endpoint)
    assert "{{ 7 * 7 }} {% raw %} {{ config }}" in events[1].text
    assert "{{ 6 * 7 }}" in events[4].text


def test_hostile_commands_are_results(repository: Repository) -> None:
    with scripted(bash("echo \x00"), bash("x" * 200_000), bash("rm -rf /testbed"), SUBMIT) as (
        endpoint
    ):
        outcome, _ = attempt(repository, endpoint)
    assert outcome.stop_reason in (StopReason.FINISHED, StopReason.AGENT_ERROR)
    assert outcome.usage.turns == 4


def test_a_destroyed_repository_is_an_agent_error(repository: Repository) -> None:
    with scripted(bash("rm -rf .git"), SUBMIT) as endpoint:
        outcome, _ = attempt(repository, endpoint)
    assert outcome.stop_reason is StopReason.AGENT_ERROR
    assert "unreadable" in outcome.detail
    assert outcome.patch == ""


def test_a_request_refused_at_once_is_the_endpoints_fault(repository: Repository) -> None:
    with scripted(400) as endpoint, pytest.raises(EndpointFailure, match="scripted 400"):
        attempt(repository, endpoint)


def test_a_request_refused_later_is_the_agents_fault(repository: Repository) -> None:
    with scripted(FIX, 400) as endpoint:
        outcome, _ = attempt(repository, endpoint)
    assert outcome.stop_reason is StopReason.AGENT_ERROR
    assert "scripted 400" in outcome.detail
    assert "+y\n" in outcome.patch


def test_the_library_is_imported_without_side_effects(tmp_path: Any) -> None:
    code = (
        "import logging, os, sys\n"
        "before = dict(os.environ)\n"
        "from harness.agents.mini import _import_library\n"
        "assert 'minisweagent' not in sys.modules\n"
        "_import_library()\n"
        "import harness.agents.mini_rollout\n"
        "assert 'litellm' not in sys.modules and 'torch' not in sys.modules\n"
        "assert dict(os.environ) == before\n"
        "assert logging.getLogger('minisweagent').handlers == []\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
