"""Endpoints that fail: what the agent gets, what is repeated, how the attempt ends."""

import threading
import time
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from harness.agents.base import Endpoint
from harness.gateway import Gateway, GatewayOptions, read_calls
from harness.records import Budget, StopReason
from tests.gateway.clients import QUICK, Attempt, ask, attempt, client, streamed_text
from tests.gateway.scripted import KEY, Step, body, cut, fail, hang, say

IMPATIENT = QUICK.model_copy(update={"call_seconds": 1.0, "stall_seconds": 1.0})
PASSING = {
    "429": fail(429),
    "500": fail(500),
    "503": fail(503),
    "408": fail(408),
    "409": fail(409),
    "425": fail(425),
    "hang": hang(),
    "cut before": cut("text", 0),
    "cut inside": cut("text", 1),
    "garbage": body(b"<html>oops"),
    "no object": body(b"[1]"),
    "no message": body(b'{"choices": [{"index": 0}]}'),
    "empty choices": body(b'{"choices": []}'),
    "bad ids": body(
        b'{"choices": [{"message": {"content": ""}, "token_ids": [99999999999]}],'
        b' "prompt_token_ids": [1]}'
    ),
}
PASSING_STREAMED = {
    "429": fail(429),
    "500": fail(500),
    "hang": hang(),
    "cut before": cut("text", 0),
    "silent": cut("text", 0, hang_seconds=10),
    "garbage": body(b"<html>oops"),
    "garbage events": body(b"data: oops\n\n"),
    "no events": body(b""),
    "empty choices": body(b'data: {"choices": []}\n\ndata: [DONE]\n\n'),
    "error event": body(b'data: {"error": {"message": "died"}}\n\ndata: [DONE]\n\n'),
}


def _options(fault: str) -> GatewayOptions:
    """Little patience, but only where it matters: the machine may be slow."""
    return IMPATIENT if fault in ("hang", "silent") else QUICK


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_repeated(tmp_path: Path, fault: str) -> None:
    step = PASSING[fault]
    with attempt(tmp_path, step, step, say("ok"), options=_options(fault)) as one:
        answer = one.ask()
        report, [row] = one.end()
    assert answer.json()["choices"][0]["message"]["content"] == "ok"
    assert len(one.upstream.requests) == 3
    assert (row.status, row.retries) == ("answered", 2)
    assert report.calls.retries == 2
    assert report.ended is None
    assert len({r["seed"] for r in one.upstream.requests}) == 1


@pytest.mark.parametrize("fault", PASSING_STREAMED)
def test_what_passes_is_repeated_before_a_stream_begins(tmp_path: Path, fault: str) -> None:
    step = PASSING_STREAMED[fault]
    with attempt(tmp_path, step, say("ok"), options=_options(fault)) as one:
        answer = one.ask(stream=True)
        report, [row] = one.end()
    assert streamed_text(answer) == "ok"
    assert (row.status, row.retries) == ("answered", 1)
    assert report.ended is None


@pytest.mark.parametrize("fault", PASSING)
def test_what_does_not_pass_ends_the_attempt(tmp_path: Path, fault: str) -> None:
    options = _options(fault).model_copy(update={"tries": 3})
    with attempt(tmp_path, PASSING[fault], options=options) as one:
        answer = one.ask()
        again = one.ask()
        report, rows = one.end()
    assert answer.status_code == again.status_code == 502
    assert answer.json()["error"]["code"] == "endpoint_failed"
    assert len(one.upstream.requests) == 3
    assert report.ended is StopReason.INFRASTRUCTURE
    assert "3 times" in report.detail
    assert [row.status for row in rows] == ["failed", "refused"]
    assert rows[0].retries == 2


@pytest.mark.parametrize("step", [cut("some text", 5), cut("some text", 5, hang_seconds=10)])
def test_a_stream_cut_after_its_beginning_is_cut_for_the_agent(tmp_path: Path, step: Step) -> None:
    with attempt(tmp_path, step, say("whole"), options=IMPATIENT) as one:
        with pytest.raises(httpx.RemoteProtocolError):
            one.ask(stream=True)
        again = one.ask(stream=True)
        report, rows = one.end()
    assert streamed_text(again) == "whole"
    assert [row.status for row in rows] == ["cut", "answered"]
    assert rows[0].turn is None
    assert len(rows[0].sampled_ids) == 4
    assert rows[0].seed == rows[1].seed
    assert report.usage.turns == 1
    assert report.usage.generated_tokens == 4 + len("whole") + 1
    assert report.ended is None


@pytest.mark.parametrize("status", [401, 403, 404, 302, 405])
def test_a_wrong_configuration_is_not_repeated(tmp_path: Path, status: int) -> None:
    with attempt(tmp_path, fail(status, f"key {KEY} is wrong")) as one:
        answer = one.ask()
        report, [row] = one.end()
    assert answer.status_code == 502
    assert len(one.upstream.requests) == 1
    assert report.ended is StopReason.INFRASTRUCTURE
    assert str(status) in report.detail
    assert one.upstream.base_url in report.detail
    assert KEY not in report.detail + row.error + answer.text


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_wrong_request_is_the_agent_s(tmp_path: Path, status: int) -> None:
    with attempt(tmp_path, say("x"), fail(status, f"wrong, {KEY}"), say("x")) as one:
        one.ask()
        answer = one.ask(stream=True)
        one.ask()
        report, rows = one.end()
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == "wrong, [key]"
    assert [row.status for row in rows] == ["answered", "rejected", "answered"]
    assert report.usage.turns == 2
    assert report.ended is None


@pytest.mark.parametrize(("later", "ended"), [(False, StopReason.TOKEN_CAP), (True, None)])
def test_a_full_context_ends_the_attempt_unless_it_goes_on(
    tmp_path: Path, later: bool, ended: StopReason | None
) -> None:
    full = fail(400, "This model's maximum context length is 10 tokens.")
    with attempt(tmp_path, full, say("x")) as one:
        assert one.ask().status_code == 400
        if later:
            one.ask()
        report, _ = one.end()
    assert report.ended is ended
    assert len(one.upstream.requests) == 1 + later


def test_the_endpoint_s_pause_is_honoured(tmp_path: Path) -> None:
    options = QUICK.model_copy(update={"longest_pause_seconds": 2.0})
    with attempt(tmp_path, fail(429, retry_after="1"), say("ok"), options=options) as one:
        began = time.monotonic()
        one.ask()
        assert time.monotonic() - began >= 1


def test_nobody_listens(tmp_path: Path) -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", model="m", api_key=SecretStr(KEY))
    calls = tmp_path / "calls.parquet"
    with (
        Gateway(endpoint, QUICK) as gateway,
        gateway.open(budget=Budget(), seed=1, calls=calls) as door,
        client(door) as http,
    ):
        assert ask(http).status_code == 502
        report = door.close()
    assert report.ended is StopReason.INFRASTRUCTURE
    assert "127.0.0.1:9" in report.detail
    [row] = read_calls(calls)
    assert row.retries == QUICK.tries - 1


def test_a_client_that_leaves_frees_the_endpoint(tmp_path: Path) -> None:
    with attempt(tmp_path, hang()) as one:
        with pytest.raises(httpx.ReadTimeout):
            one.ask_within(0.2)
        deadline = time.monotonic() + 5
        while not one.upstream.abandoned and time.monotonic() < deadline:
            time.sleep(0.01)
        report, [row] = one.end()
    assert one.upstream.abandoned == 1
    assert row.status == "cancelled"
    assert report.ended is None


@pytest.mark.parametrize(("later", "ended"), [(False, StopReason.INFRASTRUCTURE), (True, None)])
def test_an_agent_that_gives_up_on_a_failing_endpoint(
    tmp_path: Path, later: bool, ended: StopReason | None
) -> None:
    options = QUICK.model_copy(update={"longest_pause_seconds": 30.0})
    steps = fail(429, "busy", retry_after="30"), say("ok")
    with attempt(tmp_path, *steps, options=options) as one:
        with pytest.raises(httpx.ReadTimeout):
            one.ask_within(0.3)
        if later:
            one.ask()
        report, _ = one.end()
    assert report.ended is ended
    assert later or "busy" in report.detail


def test_closing_cancels_calls_in_flight(tmp_path: Path) -> None:
    with attempt(tmp_path, hang()) as one:
        _leave_open(one)
        began = time.monotonic()
        report, [row] = one.end()
    assert time.monotonic() - began < 5
    assert row.status == "cancelled"
    assert one.upstream.abandoned == 1
    assert report.ended is None


def _leave_open(one: Attempt) -> None:
    """Send a call whose answer nobody waits for, and wait until the endpoint has it."""
    request = one.http.build_request(
        "POST", "chat/completions", json={"messages": [], "stream": True}
    )

    def send() -> None:
        with pytest.raises(httpx.HTTPError):
            one.http.send(request, stream=True)

    threading.Thread(target=send, daemon=True).start()
    deadline = time.monotonic() + 5
    while not one.upstream.requests and time.monotonic() < deadline:
        time.sleep(0.01)
