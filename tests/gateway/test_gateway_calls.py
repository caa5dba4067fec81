"""Calls that go well: decoding, token ids, streaming, budgets, costs."""

from pathlib import Path

import pytest

from harness.gateway.wire import call_seed
from tests.gateway.clients import HELLO, attempt, events, streamed_text
from tests.gateway.scripted import KEY, decode, rendered, say


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
