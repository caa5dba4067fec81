"""What goes to the endpoint: the agent's messages, the run's decoding."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from harness.agents.base import Endpoint
from harness.gateway.failures import RefusedError

Json = dict[str, Any]

PASSED_ON = (
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "stop",
    "response_format",
    "structured_outputs",
    "guided_choice",
)
_EXTRAS: tuple[Json, ...] = (
    {"return_token_ids": True, "logprobs": True},
    {"logprobs": True},
    {},
)


def call_seed(seed: int, answer: int) -> int:
    """The sampling seed of an attempt's n-th answer: 31 bits, a function of both numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{answer}".encode()).digest()[:4]) >> 1


def most_tokens(asked: Mapping[str, Any], configured: int) -> int:
    """The tokens an answer may have: the agent's own limit where it is the smaller one."""
    limits = [asked.get("max_tokens"), asked.get("max_completion_tokens")]
    return min([configured, *(n for n in limits if type(n) is int and n > 0)])


def check(asked: object) -> Json:
    """A parsed body as a chat request. Raises RefusedError."""
    if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
        raise bad_request("the body is not a JSON object with a list of messages")
    return asked


def bad_request(message: str, *, status: int = 400, code: str = "bad_request") -> RefusedError:
    """The refusal of a request that is none."""
    return RefusedError(message, status=status, kind="invalid_request_error", code=code)


def outgoing(
    asked: Mapping[str, Any],
    endpoint: Endpoint,
    extra_body: Mapping[str, Any],
    *,
    seed: int,
    max_tokens: int,
) -> Json:
    """The request for the endpoint: what decides on sampling is the run's, whatever was asked."""
    decoding = endpoint.decoding
    sent = {name: asked[name] for name in PASSED_ON if name in asked}
    sent |= extra_body
    sent |= {
        "model": endpoint.model,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": max_tokens,
        "n": 1,
        "seed": seed,
        "stream": bool(asked.get("stream")),
    }
    if sent["stream"]:
        sent["stream_options"] = {"include_usage": True}
    return sent


def overridden(asked: Mapping[str, Any], sent: Mapping[str, Any]) -> list[str]:
    """The agent's parameters that were left out or changed."""
    return sorted(
        name
        for name, value in asked.items()
        if name not in PASSED_ON and value is not None and sent.get(name) != value
    )


class Extras:
    """Which parameters the endpoint takes that make it return token ids and log-probs.

    Found out by the run's first calls: what is rejected with them and taken without them is
    not asked again.
    """

    def __init__(self, mode: Literal["auto", "require", "off"]) -> None:
        self.wanted = mode != "off"
        self.required = mode == "require"
        self._candidates = _EXTRAS if self.wanted else _EXTRAS[-1:]

    def candidates(self) -> Iterator[Json]:
        """The parameters to try, in order; one alone once it is known."""
        yield from self._candidates

    def accepted(self, extras: Json) -> None:
        """The endpoint answered a request with these."""
        self._candidates = (extras,)
