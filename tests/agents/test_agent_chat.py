"""Calls of an endpoint: what is retried, what is not, and how long anything may take."""

import socket
import time
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from harness.agents.base import Endpoint, EndpointFailure
from harness.agents.chat import (
    TRIES,
    ChatClient,
    Completion,
    ContextOverflowError,
    OutOfTimeError,
    RefusedRequestError,
)
from tests.agents.scripted_endpoint import after, scripted

MESSAGES = [{"role": "user", "content": "hello"}]


def ask(endpoint: Endpoint, timeout: float = 20, **options: Any) -> Completion:
    with ChatClient(endpoint, first_pause=0.01) as client:
        return client.complete(MESSAGES, seed=1, max_tokens=5, timeout=timeout, **options)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_failures_are_retried(status: int) -> None:
    with scripted(status, status, "fine") as served:
        answer = ask(served.endpoint)
    assert (answer.text, answer.tries) == ("fine", 3)
    assert served.requests[0] == served.requests[2]


def test_lasting_failures_end_in_an_endpoint_failure() -> None:
    with scripted(503) as served, pytest.raises(EndpointFailure, match=r"503: scripted 503, 6 tim"):
        ask(served.endpoint)
    assert len(served.requests) == TRIES


def test_retry_after_is_kept_to() -> None:
    wait: Mapping[str, Any] = {"status": 429, "headers": {"retry-after": "1"}, "body": {}}
    with scripted(wait, "fine") as served:
        began = time.monotonic()
        ask(served.endpoint)
    assert time.monotonic() - began >= 1


def test_an_endpoint_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EndpointFailure, match="ConnectError"):
        ask(Endpoint(base_url=f"http://127.0.0.1:{port}/v1", model="m"))


@pytest.mark.parametrize("body", [b"<html>", [1], b""])
def test_answers_that_are_no_json_objects_are_retried(body: Any) -> None:
    with scripted({"status": 200, "body": body}, "fine") as served:
        assert ask(served.endpoint).tries == 2


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{"message": {"content": 5}}]}])
def test_answers_of_another_shape_are_the_endpoints_failure(body: Any) -> None:
    with (
        scripted({"status": 200, "body": body}) as served,
        pytest.raises(EndpointFailure, match="not a chat completion"),
    ):
        ask(served.endpoint)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusals_of_the_caller_are_not_retried(status: int) -> None:
    with scripted(status) as served, pytest.raises(EndpointFailure, match=str(status)):
        ask(served.endpoint)
    assert len(served.requests) == 1


def test_a_wrong_path_gets_a_hint() -> None:
    with scripted("fine") as served:
        wrong = served.endpoint.model_copy(update={"base_url": served.base_url.removesuffix("/v1")})
        with pytest.raises(EndpointFailure, match="usually ends in /v1"):
            ask(wrong)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "too long", "code": "context_length_exceeded"}, ContextOverflowError),
        (
            {"message": "model's maximum context length is 5", "code": 400},
            ContextOverflowError,
        ),
        ({"message": "bad role", "code": 400}, RefusedRequestError),
    ],
)
def test_bad_requests_are_told_apart(error: Any, expected: type[Exception]) -> None:
    with (
        scripted({"status": 400, "body": {"error": error}}) as served,
        pytest.raises(expected, match=error["message"]),
    ):
        ask(served.endpoint)
    assert len(served.requests) == 1


def test_the_time_limit_is_for_the_whole_call() -> None:
    began = time.monotonic()
    with scripted(after(30, "late")) as served, pytest.raises(OutOfTimeError):
        ask(served.endpoint, timeout=0.5)
    assert time.monotonic() - began < 20


def test_time_that_passes_in_retries_is_the_endpoints_failure() -> None:
    wait: Mapping[str, Any] = {"status": 503, "headers": {"retry-after": "50"}, "body": {}}
    with scripted(wait) as served, pytest.raises(EndpointFailure, match="until the time was up"):
        ask(served.endpoint, timeout=1)


def test_the_key_is_sent() -> None:
    with scripted("fine") as served:
        ask(served.endpoint.model_copy(update={"api_key": SecretStr("s3cret")}))
        ask(served.endpoint)
    assert served.headers[0]["authorization"] == "Bearer s3cret"
    assert "authorization" not in served.headers[1]


@pytest.mark.parametrize("context", [None, 8192])
def test_context_length(context: int | None) -> None:
    with (
        scripted("fine", context=context) as served,
        ChatClient(served.endpoint) as client,
        ChatClient(served.endpoint.model_copy(update={"model": "other"})) as other,
    ):
        assert client.context_length(timeout=20) == context
        assert other.context_length(timeout=20) is None
