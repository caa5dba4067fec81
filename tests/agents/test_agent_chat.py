"""Calls of an endpoint: how failures are told apart, and how long anything may take."""

import socket
import time
from typing import Any

import pytest
from pydantic import SecretStr

from harness.agents.base import Endpoint, EndpointFailure
from harness.agents.chat import (
    ChatClient,
    Completion,
    ContextOverflowError,
    OutOfTimeError,
    RefusedRequestError,
)
from tests.agents.scripted_endpoint import after, scripted

MESSAGES = [{"role": "user", "content": "hello"}]


def ask(endpoint: Endpoint, timeout: float = 20, **options: Any) -> Completion:
    with ChatClient(endpoint) as client:
        return client.complete(MESSAGES, max_tokens=5, timeout=timeout, **options)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502])
def test_failures_of_the_endpoint_are_not_tried_again(status: int) -> None:
    with scripted(status, "fine") as served, pytest.raises(EndpointFailure, match=str(status)):
        ask(served.endpoint)
    assert len(served.requests) == 1


def test_an_endpoint_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EndpointFailure, match="ConnectError"):
        ask(Endpoint(base_url=f"http://127.0.0.1:{port}/v1", model="m"))


@pytest.mark.parametrize("body", [b"<html>", [1], b""])
def test_answers_that_are_no_json_objects(body: Any) -> None:
    with (
        scripted({"status": 200, "body": body}) as served,
        pytest.raises(EndpointFailure, match="without a JSON object"),
    ):
        ask(served.endpoint)


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{"message": {"content": 5}}]}])
def test_answers_of_another_shape_are_the_endpoints_failure(body: Any) -> None:
    with (
        scripted({"status": 200, "body": body}) as served,
        pytest.raises(EndpointFailure, match="not a chat completion"),
    ):
        ask(served.endpoint)


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
