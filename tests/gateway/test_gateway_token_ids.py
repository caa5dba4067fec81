"""Where token ids come from when the endpoint does not simply give them."""

from pathlib import Path

import pytest

from harness.gateway import GatewayOptions
from harness.records import StopReason
from tests.gateway.clients import HELLO, QUICK, attempt
from tests.gateway.scripted import decode, fail, rendered, say


def _options(token_ids: str) -> GatewayOptions:
    return QUICK.model_copy(update={"token_ids": token_ids})


def test_rejected_parameters_are_left_out_and_not_asked_again(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x"), rejects=("return_token_ids",)) as one:
        assert [one.ask().status_code, one.ask().status_code] == [200, 200]
        report, rows = one.end()
    asked = [("return_token_ids" in r, "logprobs" in r) for r in one.upstream.requests]
    assert asked == [(True, True), (False, True), (False, True)]
    assert [row.retries for row in rows] == [1, 0]
    assert [row.ids_from for row in rows] == ["none", "none"]
    assert report.calls.without_ids == 2


def test_an_endpoint_that_takes_neither(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x"), rejects=("return_token_ids", "logprobs")) as one:
        assert one.ask(stream=True).status_code == 200
    assert "logprobs" not in one.upstream.requests[-1]


def test_a_request_wrong_in_itself_decides_nothing(tmp_path: Path) -> None:
    with attempt(tmp_path, *[fail(400, "bad messages")] * 3, say("x")) as one:
        wrong = one.ask()
        one.ask()
        _, rows = one.end()
    assert wrong.status_code == 400
    assert wrong.json()["error"]["message"] == "bad messages"
    assert rows[0].status == "rejected"
    assert one.upstream.requests[-1]["return_token_ids"] is True
    assert rows[1].ids_from == "endpoint"


def test_a_rejection_after_an_answer_goes_to_the_agent_at_once(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x"), fail(422, "wrong")) as one:
        one.ask()
        assert one.ask().status_code == 422
    assert len(one.upstream.requests) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_ids_made_from_text_are_marked(tmp_path: Path, stream: bool) -> None:
    with attempt(tmp_path, say("made of text"), ids=False, tokenize=True) as one:
        one.ask(stream=stream)
        report, [row] = one.end()
    assert row.ids_from == "retokenised"
    assert decode(list(row.prompt_ids)) == rendered(HELLO)
    assert decode(list(row.sampled_ids)) == "made of text"
    assert len(row.logprobs) == 0
    assert report.calls.ids_retokenised == 1


@pytest.mark.parametrize("stream", [False, True])
def test_required_ids_that_do_not_come_end_the_attempt(tmp_path: Path, stream: bool) -> None:
    with attempt(tmp_path, say("x"), ids=False, options=_options("require")) as one:
        assert one.ask(stream=stream).status_code == 502
        report, [row] = one.end()
    assert report.ended is StopReason.INFRASTRUCTURE
    assert "no token ids" in report.detail
    assert row.status == "failed"


def test_ids_that_nobody_wants_are_not_asked_for(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x"), options=_options("off"), tokenize=True) as one:
        one.ask()
        report, [row] = one.end()
    assert "logprobs" not in one.upstream.requests[0]
    assert row.ids_from == "none"
    assert report.calls.without_ids == 1
