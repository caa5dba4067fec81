"""Calls that go well: decoding, token ids, streaming, budgets, costs."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from harness.gateway.wire import call_seed
from harness.records import Budget, StopReason
from tests.gateway.clients import HELLO, QUICK, attempt, events, streamed_text
from tests.gateway.scripted import KEY, call_tools, decode, rendered, say


def test_an_answer_and_its_row(tmp_path: Path) -> None:
    with attempt(tmp_path, say("hi there"), seed=3) as one:
        answer = one.ask(temperature=0, top_p=0.1, n=3, seed=1, max_tokens=999, top_k=1, user="x")
        report, [row] = one.end()
    assert answer.status_code == 200
    choice = answer.json()["choices"][0]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "hi there"},
        "finish_reason": "stop",
    }
    [sent] = one.upstream.requests
    assert sent == {
        "messages": HELLO,
        "model": "scripted",
        "temperature": 0.7,
        "top_p": 0.95,
        "max_tokens": 256,
        "n": 1,
        "seed": call_seed(3, 1),
        "stream": False,
        "return_token_ids": True,
        "logprobs": True,
    }
    assert one.upstream.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert row.status == "answered"
    assert (row.call, row.turn, row.http_status, row.retries) == (1, 1, 200, 0)
    assert decode(list(row.prompt_ids)) == rendered(HELLO)
    assert decode(list(row.sampled_ids)) == "hi there"
    assert row.logprobs == pytest.approx([-number / 1000 for number in row.sampled_ids])
    assert row.ids_from == "endpoint"
    assert (row.finish_reason, row.stop_reason) == ("stop", None)
    assert row.overridden == ["max_tokens", "n", "seed", "temperature", "top_k", "top_p", "user"]
    assert report.usage.turns == 1
    assert report.usage.prompt_tokens == row.prompt_tokens == len(row.prompt_ids)
    assert report.usage.generated_tokens == row.generated_tokens == len(row.sampled_ids)
    assert report.calls.ids_from_endpoint == 1
    assert report.ended is None


def test_a_streamed_answer_and_its_row(tmp_path: Path) -> None:
    with attempt(tmp_path, say("streamed text")) as one:
        answer = one.ask(stream=True)
        report, [row] = one.end()
    assert streamed_text(answer) == "streamed text"
    assert events(answer)[-1] == "[DONE]"
    assert "token_ids" not in answer.text
    assert "logprob" not in answer.text
    assert not [e for e in events(answer) if e != "[DONE]" and "usage" in e]
    assert one.upstream.requests[0]["stream_options"] == {"include_usage": True}
    assert row.streamed
    assert decode(list(row.prompt_ids)) == rendered(HELLO)
    assert decode(list(row.sampled_ids)) == "streamed text"
    assert len(row.logprobs) == len(row.sampled_ids) == row.generated_tokens
    assert row.finish_reason == "stop"
    assert report.usage.generated_tokens == len(row.sampled_ids)


def test_usage_goes_to_a_stream_that_asks_for_it(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        answer = one.ask(stream=True, stream_options={"include_usage": True})
    assert events(answer)[-2]["usage"]["completion_tokens"] == 2


def test_the_mask_is_true_exactly_on_sampled_tokens(tmp_path: Path) -> None:
    with attempt(tmp_path, say("abc")) as one:
        one.ask()
        one.ask(stream=True)
        one.end()
    table = pq.read_table(tmp_path / "calls.parquet").to_pydict()
    for prompt, sampled, mask in zip(
        table["prompt_ids"], table["sampled_ids"], table["mask"], strict=True
    ):
        assert prompt
        assert sampled
        assert mask == [False] * len(prompt) + [True] * len(sampled)


def test_tool_calls_pass_unchanged_also_malformed_ones(tmp_path: Path) -> None:
    calls = (("bash", '{"command": "ls"}'), ("bash", '{"command": "ls'), ("nope", "é 日"))
    tools = [{"type": "function", "function": {"name": "bash", "parameters": {}}}]
    with attempt(tmp_path, call_tools(*calls)) as one:
        whole = one.ask(tools=tools, tool_choice="auto")
        streamed = one.ask(tools=tools, stream=True)
        report, rows = one.end()
    message = whole.json()["choices"][0]["message"]
    got = [(c["function"]["name"], c["function"]["arguments"]) for c in message["tool_calls"]]
    assert got == list(calls)
    assert _streamed_calls(streamed) == list(calls)
    assert one.upstream.requests[0]["tools"] == tools
    assert one.upstream.requests[0]["tool_choice"] == "auto"
    assert [row.status for row in rows] == ["answered"] * 2
    assert report.usage.tool_calls == 6
    assert report.ended is None
    recorded = json.loads(rows[1].response)["choices"][0]["message"]["tool_calls"]
    assert recorded == message["tool_calls"]


def test_tool_calls_over_the_number_are_dropped_and_recorded(tmp_path: Path) -> None:
    calls = tuple(("bash", f'{{"n": {number}}}') for number in range(5))
    with attempt(tmp_path, call_tools(*calls), budget=Budget(tool_calls_per_turn=2)) as one:
        whole = one.ask()
        streamed = one.ask(stream=True)
        report, rows = one.end()
    assert len(whole.json()["choices"][0]["message"]["tool_calls"]) == 2
    assert _streamed_calls(streamed) == list(calls[:2])
    assert report.usage.tool_calls == 4
    for row in rows:
        assert row.tools_dropped == 3
        assert len(json.loads(row.response)["choices"][0]["message"]["tool_calls"]) == 5


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_over_the_turns_is_refused(tmp_path: Path, stream: bool) -> None:
    with attempt(tmp_path, say("x"), budget=Budget(turns=2)) as one:
        statuses = [one.ask(stream=stream).status_code for _ in range(2)]
        refused = one.ask(stream=stream)
        report, rows = one.end()
    assert statuses == [200, 200]
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "budget_exhausted"
    assert refused.json()["error"]["code"] == "turn_cap"
    assert report.ended is StopReason.TURN_CAP
    assert report.usage.turns == 2
    assert [row.status for row in rows] == ["answered", "answered", "refused"]
    assert rows[2].turn is None
    assert report.calls.calls == 3
    assert report.calls.answered == 2


def test_generated_tokens_are_capped(tmp_path: Path) -> None:
    with attempt(tmp_path, say("12345"), budget=Budget(tokens=8)) as one:
        statuses = [one.ask().status_code for _ in range(3)]
        report, rows = one.end()
    assert statuses == [200, 200, 400]
    assert [r["max_tokens"] for r in one.upstream.requests] == [8, 2]
    assert report.ended is StopReason.TOKEN_CAP
    assert "token_cap" in one.door.close().detail or "generated tokens" in report.detail
    assert rows[1].max_tokens == 2


def test_calls_at_once_do_not_exceed_the_turns(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x"), budget=Budget(turns=3)) as one, ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: one.ask().status_code, range(8)))
        report, _ = one.end()
    assert sorted(statuses) == [200] * 3 + [400] * 5
    assert report.usage.turns == 3
    assert len(one.upstream.requests) == 3


def test_a_smaller_limit_of_the_agent_is_kept(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        one.ask(max_tokens=17)
        one.ask(max_completion_tokens=18)
        one.ask(max_tokens=-1)
    assert [r["max_tokens"] for r in one.upstream.requests] == [17, 18, 256]


def test_seeds_depend_on_attempt_and_call_alone(tmp_path: Path) -> None:
    def seeds(seed: int, folder: str) -> list[int]:
        (tmp_path / folder).mkdir()
        with attempt(tmp_path / folder, say("x"), seed=seed) as one:
            one.ask(seed=99)
            one.ask()
        return [request["seed"] for request in one.upstream.requests]

    first = seeds(1, "a")
    assert first == seeds(1, "b") == [call_seed(1, 1), call_seed(1, 2)]
    assert not set(first) & set(seeds(2, "c"))
    assert all(0 <= seed < 2**31 for seed in first)


def test_a_call_of_another_purpose_is_no_turn(tmp_path: Path) -> None:
    budget = Budget(turns=1)
    with attempt(tmp_path, say("x"), budget=budget, purposes=frozenset({"condenser"})) as one:
        one.http.headers["X-Harness-Purpose"] = "condenser"
        condensed = one.ask()
        too_many = one.ask()
        del one.http.headers["X-Harness-Purpose"]
        turn = one.ask()
        report, rows = one.end()
    assert [condensed.status_code, too_many.status_code, turn.status_code] == [200, 400, 200]
    assert [row.purpose for row in rows] == ["condenser", "condenser", "agent"]
    assert [row.turn for row in rows] == [None, None, 1]
    assert report.usage.turns == 1
    assert report.usage.generated_tokens == 4
    assert report.ended is None


def test_a_purpose_that_the_agent_does_not_have_is_a_turn(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x"), budget=Budget(turns=1)) as one:
        one.http.headers["X-Harness-Purpose"] = "condenser"
        assert [one.ask().status_code, one.ask().status_code] == [200, 400]
        report, rows = one.end()
    assert [row.purpose for row in rows] == ["agent", "agent"]
    assert report.usage.turns == 1


def test_costs_tell_cached_tokens_apart(tmp_path: Path) -> None:
    options = QUICK.model_copy(
        update={
            "prompt_usd_per_million": 2.0,
            "cached_usd_per_million": 1.0,
            "generated_usd_per_million": 10.0,
        }
    )
    with attempt(tmp_path, say("abc"), options=options) as one:
        one.ask()
        report, [row] = one.end()
    cached = row.prompt_tokens // 2
    assert row.cached_tokens == cached
    expected = ((row.prompt_tokens - cached) * 2 + cached + row.generated_tokens * 10) / 1e6
    assert report.usage.cost_usd == pytest.approx(expected)


def test_tokens_are_counted_from_ids_without_usage(tmp_path: Path) -> None:
    with attempt(tmp_path, say("abc"), usage=False) as one:
        one.ask()
        report, _ = one.end()
    assert report.usage.generated_tokens == 4
    assert report.usage.prompt_tokens == len(rendered(HELLO))


def test_models_lists_the_run_s_model_alone(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        listed = one.http.get("models").json()["data"]
        other = one.http.get("files")
    assert listed == [{"id": "scripted", "object": "model", "max_model_len": 4096}]
    assert other.status_code == 404


def test_parameters_of_the_run_are_added(tmp_path: Path) -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "temperature": 5}
    options = QUICK.model_copy(update={"extra_body": extra})
    with attempt(tmp_path, say("x"), options=options) as one:
        one.ask(chat_template_kwargs={"enable_thinking": True}, chat_template="{{ evil }}")
        _, [row] = one.end()
    [sent] = one.upstream.requests
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert sent["temperature"] == 0.7
    assert "chat_template" not in sent
    assert row.overridden == ["chat_template", "chat_template_kwargs"]


def test_an_answer_s_choices_are_the_agent_s_to_name(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"structured_outputs": {"choice": ["a", "b"]}, "guided_choice": ["a"]}
    with attempt(tmp_path, say("a")) as one:
        one.ask(**asked)
        _, [row] = one.end()
    [sent] = one.upstream.requests
    assert {name: sent[name] for name in asked} == asked
    assert not {"structured_outputs", "guided_choice"} & set(row.overridden)


def test_closing_twice_gives_the_same_report(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        one.ask()
        folder = one.door.folder
        assert [path.name for path in folder.iterdir()] == ["gateway.sock"]
        report, _ = one.end()
        assert one.door.close() == report
        assert not folder.exists()


def test_a_door_that_nobody_used_leaves_an_empty_record(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        report, rows = one.end()
    assert rows == []
    assert report.calls.calls == 0


def _streamed_calls(response: httpx.Response) -> list[tuple[str, str]]:
    """Names and arguments of the tool calls of a streamed answer."""
    calls: dict[int, list[str]] = {}
    for event in events(response)[:-1]:
        for choice in event["choices"]:
            for call in choice["delta"].get("tool_calls") or ():
                whole = calls.setdefault(call["index"], ["", ""])
                whole[0] += call["function"].get("name") or ""
                whole[1] += call["function"].get("arguments") or ""
    return [(name, arguments) for name, arguments in calls.values()]
