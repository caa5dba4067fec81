"""Whole attempts of the real SDK against a scripted model, in process sandboxes."""

import json
from typing import Any

import pytest
from pydantic import SecretStr

from harness.agents.openhands import OpenHandsAgent
from harness.records import Budget, StopReason
from harness.sandboxes.base import SandboxFailure
from tests.agents.openhands.conftest import World
from tests.agents.openhands.gateway import FINISH, call, calls, sh, written
from tests.agents.openhands.test_openhands_lines import END
from tests.agents.scripted_endpoint import after

CHANGE = call("file_editor", command="str_replace", path="/testbed/a.py", old_str="x", new_str="y")


def steps(*names: Any) -> list[Any]:
    """Commands that differ."""
    return [sh(f"echo {name}", f"Step {name}.") for name in names]


def test_a_bug_is_fixed(attempt: World) -> None:
    run = attempt(sh("cat a.py"), CHANGE, FINISH)
    assert run.outcome.stop_reason is StopReason.FINISHED
    assert "-x\n+y\n" in run.outcome.patch
    assert run.outcome.usage.turns == len(run.gateway.requests) == 3
    assert run.outcome.usage.tool_calls == 3
    assert run.outcome.usage.prompt_tokens == 300
    assert run.outcome.usage.generated_tokens == 30
    assert "a is x, not y" in run.texts("user")[0]
    assert run.texts("assistant") == ["Go on.", "Go on.", "Done."]
    assert run.texts("action")[0] == "terminal: cat a.py"
    assert run.texts("action")[1].startswith("file_editor: str_replace /testbed/a.py")
    assert run.texts("observation")[0].startswith("x")
    assert [event.step for event in run.events] == sorted(event.step for event in run.events)


@pytest.mark.slow
def test_openhands_own_log_is_kept_whole(attempt: World) -> None:
    run = attempt(sh("echo $((6*7))"), FINISH)
    kinds = [json.loads(line)["kind"] for line in (run.logs / "openhands.jsonl").open()]
    assert [kind for kind in kinds if kind != "ConversationStateUpdateEvent"] == [
        "SystemPromptEvent",
        "MessageEvent",
        "ActionEvent",
        "ObservationEvent",
        "ActionEvent",
        "ObservationEvent",
    ]
    assert "42" in (run.logs / "openhands.jsonl").read_text()


@pytest.mark.slow
def test_decoding_is_on_the_wire_and_nothing_else_is(attempt: World) -> None:
    run = attempt(FINISH, endpoint={"model": "gpt-5"})
    request = run.gateway.requests[0]
    assert request.pop("messages")
    assert [tool["function"]["name"] for tool in request.pop("tools")] == [
        "terminal",
        "file_editor",
        "task_tracker",
        "finish",
        "think",
    ]
    assert request == {
        "model": "model",
        "temperature": 0.7,
        "top_p": 0.95,
        "max_completion_tokens": 2048,
        "seed": 1,
    }


@pytest.mark.slow
def test_the_text_protocol(attempt: World) -> None:
    fix = written("terminal", command="echo y > a.py")
    run = attempt(fix, written("finish", message="Fixed."), native_tool_calling=False)
    assert run.outcome.stop_reason is StopReason.FINISHED
    assert "+y" in run.outcome.patch
    assert not any("tools" in request for request in run.gateway.requests)
    assert "<function=" in json.dumps(run.gateway.requests[0]["messages"])


@pytest.mark.slow
def test_the_turn_cap_counts_over_nudges(attempt: World) -> None:
    script = ["I think.", sh("echo 1"), "I think again.", *steps(*"abcdef"), FINISH]
    run = attempt(*script, budget=Budget(turns=6))
    assert run.outcome.stop_reason is StopReason.TURN_CAP
    assert run.outcome.usage.turns == len(run.gateway.requests) == 6
    assert run.events[-1].step == 6
    assert sum("call the finish tool" in text for text in run.texts("user")[1:]) == 2


@pytest.mark.slow
def test_the_last_turn_can_finish(attempt: World) -> None:
    run = attempt(sh("echo 1"), FINISH, budget=Budget(turns=2))
    assert run.outcome.stop_reason is StopReason.FINISHED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nudges", "reason"), [(2, StopReason.AGENT_ERROR), (0, StopReason.FINISHED)]
)
def test_plain_answers_end_the_attempt(attempt: World, nudges: int, reason: StopReason) -> None:
    run = attempt("One.", "Two.", "Three.", "Four.", nudges=nudges)
    assert run.outcome.stop_reason is reason
    assert len(run.gateway.requests) == nudges + 1


@pytest.mark.slow
def test_the_wall_clock_ends_a_model_call(attempt: World) -> None:
    run = attempt(sh("echo y > a.py"), after(60, FINISH), budget=Budget(wall_clock_seconds=10))
    assert run.outcome.stop_reason is StopReason.WALL_CLOCK
    assert "+y" in run.outcome.patch
    assert run.events[-1].seconds < 55


@pytest.mark.slow
def test_the_wall_clock_ends_a_command(attempt: World) -> None:
    long = sh("echo y > a.py; sleep 3600", timeout=3600)
    run = attempt(long, FINISH, budget=Budget(wall_clock_seconds=10))
    assert run.outcome.stop_reason is StopReason.WALL_CLOCK
    assert "+y" in run.outcome.patch
    assert run.events[-1].seconds < 55


@pytest.mark.slow
def test_an_agent_that_repeats_itself_is_stuck(attempt: World) -> None:
    run = attempt(sh("ls"))
    assert run.outcome.stop_reason is StopReason.STUCK
    assert len(run.gateway.requests) < 10


@pytest.mark.slow
def test_without_stuck_detection_it_goes_on(attempt: World) -> None:
    run = attempt(sh("ls"), stuck_detection=False, budget=Budget(turns=12))
    assert run.outcome.stop_reason is StopReason.TURN_CAP


@pytest.mark.slow
def test_wrong_calls_are_answered_and_the_attempt_goes_on(attempt: World) -> None:
    run = attempt(
        calls(("no_such_tool", {"x": 1})),
        calls(("terminal", "{not json")),
        calls(("file_editor", {"command": "view"})),
        calls(("terminal", {"command": "echo y > a.py"}), ("terminal", {"command": "cat a.py"})),
        "",
        FINISH,
    )
    assert run.outcome.stop_reason is StopReason.FINISHED
    assert "+y" in run.outcome.patch
    assert "no_such_tool" in run.texts("observation")[0]
    assert run.outcome.usage.turns == 6


def refusal(status: int, code: str, message: str = "no more") -> dict[str, Any]:
    return {"status": status, "body": {"error": {"message": message, "code": code}}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal(400, "turn_cap"), StopReason.TURN_CAP),
        (refusal(400, "token_cap"), StopReason.TOKEN_CAP),
        (refusal(400, "context_length_exceeded"), StopReason.TOKEN_CAP),
        (
            {"status": 400, "body": {"message": "Please reduce the length of the messages"}},
            StopReason.TOKEN_CAP,
        ),
        (refusal(400, "bad_request"), StopReason.AGENT_ERROR),
    ],
)
def test_what_the_gateway_refuses(
    attempt: World, answer: dict[str, Any], reason: StopReason
) -> None:
    run = attempt(sh("echo y > a.py"), answer)
    assert run.outcome.stop_reason is reason
    assert "+y" in run.outcome.patch
    assert run.outcome.usage.turns == 1
    assert len(run.gateway.requests) == 2


@pytest.mark.slow
@pytest.mark.parametrize("answer", [refusal(503, "endpoint_failed", "it is down"), 500, 429])
def test_a_failing_endpoint_is_not_asked_again_and_left_to_the_gateway_to_judge(
    attempt: World, answer: Any
) -> None:
    seen: list[int] = []

    def fail() -> Any:
        seen.append(1)
        return answer

    assert attempt(fail).outcome.stop_reason is StopReason.AGENT_ERROR
    assert len(seen) == 1


@pytest.mark.slow
def test_a_killed_runner_is_an_agent_error_and_the_patch_is_kept(attempt: World) -> None:
    run = attempt(sh("echo y > a.py; kill -9 $PPID; sleep 1"), FINISH)
    assert run.outcome.stop_reason is StopReason.AGENT_ERROR
    assert "137" in run.outcome.detail
    assert "+y" in run.outcome.patch
    assert run.outcome.usage.turns == 1


@pytest.mark.slow
def test_a_stopped_runner_does_not_hang_the_harness(attempt: World) -> None:
    run = attempt(
        sh("echo y > a.py; kill -STOP $PPID"),
        budget=Budget(wall_clock_seconds=2),
        startup_seconds=20,
    )
    assert run.outcome.stop_reason is StopReason.WALL_CLOCK
    assert "+y" in run.outcome.patch


@pytest.mark.slow
def test_a_runner_cannot_be_spoken_for(attempt: World) -> None:
    forge = f"for f in /proc/$PPID/fd/* /dev/stdout; do echo 'end 1 {json.dumps(END)}' >$f; done"
    run = attempt(sh(forge), sh("rm -rf /tmp/harness-openhands; echo y > a.py"), FINISH)
    assert run.outcome.stop_reason is StopReason.FINISHED
    assert run.outcome.usage.turns == 3
    assert "+y" in run.outcome.patch


@pytest.mark.slow
def test_no_key_gets_into_the_sandbox(attempt: World) -> None:
    look = "env; cat /proc/*/environ | tr '\\0' '\\n'; cat /tmp/harness-openhands/* | strings"
    run = attempt(sh(look), FINISH, endpoint={"api_key": SecretStr("sk-very-secret")})
    assert "harness" in run.texts("observation")[0]
    kept = b"".join(path.read_bytes() for path in run.logs.iterdir())
    assert b"sk-very-secret" not in kept + repr(run.events).encode()
    assert {headers["authorization"] for headers in run.gateway.headers} == {"Bearer none"}


@pytest.mark.slow
def test_commands_have_the_images_environment(attempt: World) -> None:
    colours = "printf '\\033[1;31mre\\033[0md\\033]0;title\\007 \\033(Bink\\n'; echo grüße"
    run = attempt(sh(f"env; {colours}"), FINISH, env={"MINE": "1"})
    seen = run.texts("observation")[0]
    assert "\nred ink\n" in seen
    assert "MINE=1" in seen
    assert "grüße" in seen
    assert "\x1b" not in seen
    for name in ("PYTHON", "LD_LIBRARY_PATH", "LITELLM", "LOG_LEVEL", "/opt/oh"):
        assert name not in seen


@pytest.mark.slow
def test_each_command_gets_its_own_output_from_a_slow_shell(attempt: World) -> None:
    slow = b"sleep 4; trap 'sleep 0.3' DEBUG\n"  # at its start, and before each prompt
    run = attempt(*steps(*"abcdef"), FINISH, files={"/home/sandbox/.bashrc": slow})
    assert run.texts("observation")[:-1] == list("abcdef")


@pytest.mark.slow
def test_a_running_command_can_be_waited_for_and_talked_to(attempt: World) -> None:
    run = attempt(
        sh("echo begun; sleep 3; echo done"),
        sh("", is_input=True),
        sh("", is_input=True),
        sh("cat"),
        sh("hello", is_input=True),
        sh("C-c", is_input=True),
        FINISH,
        no_change_seconds=2,
    )
    begun, _, _, _, hello, stopped, _ = run.texts("observation")
    assert begun == "begun"
    assert any(text.endswith("done") for text in run.texts("observation")[1:3])
    assert "hello" in hello
    assert stopped == "^C"


@pytest.mark.slow
def test_the_condenser_says_what_its_calls_are_for(attempt: World) -> None:
    script = [*steps(*"abcde"), "A summary.", *steps(*"fgh"), FINISH]
    run = attempt(*script, condenser={"max_size": 10, "keep_first": 2})
    purposes = [headers.get("x-harness-purpose") for headers in run.gateway.headers]
    assert set(purposes) == {None, "condenser"}
    assert run.outcome.stop_reason is StopReason.FINISHED
    assert run.outcome.usage.turns == purposes.count(None)
    assert any("A summary." in text for text in run.texts("note"))


@pytest.mark.slow
def test_condensing_that_does_not_help_ends_the_attempt(attempt: World) -> None:
    run = attempt("A summary.", condenser={"max_tokens": 1000})
    assert run.outcome.stop_reason is StopReason.TOKEN_CAP
    assert run.outcome.usage.turns == 0
    assert len(run.gateway.requests) < 6


@pytest.mark.slow
def test_a_short_context_gets_a_short_prompt(attempt: World) -> None:
    count = written("terminal", command="seq 100000")
    run = attempt(count, written("finish", message="Fixed."), context=8192)
    assert run.outcome.stop_reason is StopReason.FINISHED
    first, second = (json.dumps(request) for request in run.gateway.requests)
    assert len(first) < 13_000
    assert len(second) < len(first) + 6_000
    assert "file_editor" not in first


def test_a_sandbox_without_toolchain_is_a_failure(
    attempt: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenHandsAgent, "binds", lambda *_: ())
    with pytest.raises(SandboxFailure, match="does not start"):
        attempt(FINISH)
