"""How a run's gateway behaves."""

from typing import Any, Literal

from pydantic import Field

from harness.records import Record

MIB = 1024 * 1024


class GatewayOptions(Record):
    """Retries, limits, prices and token ids of a run's gateway."""

    tries: int = Field(6, ge=1, description="Requests for one call, the first included.")
    first_pause_seconds: float = Field(
        1.0, ge=0, description="Longest pause before the first retry; it doubles with each."
    )
    longest_pause_seconds: float = Field(
        60.0, ge=0, description="Bound of a pause, also of one that the endpoint asks for."
    )
    connect_seconds: float = Field(10.0, gt=0, description="To connect to the endpoint.")
    call_seconds: float = Field(600.0, gt=0, description="One request, to its answer's last byte.")
    stall_seconds: float = Field(
        120.0, gt=0, description="Silence in a streamed answer that has begun."
    )
    breaker_failures: int = Field(
        10, ge=1, description="Failures in a row, of all attempts, until calls wait for a probe."
    )
    probe_seconds: float = Field(
        1.0, gt=0, description="Pause before the first probe; it doubles with each, to 30 s."
    )
    outage_seconds: float = Field(
        300.0, gt=0, description="Calls wait so long for an endpoint that fails, then fail."
    )
    token_ids: Literal["auto", "require", "off"] = Field(
        "auto",
        description="Ask the endpoint for token ids and log-probs; `require`: an answer without "
        "ids is a failure of the endpoint.",
    )
    prompt_usd_per_million: float | None = Field(
        None, ge=0, description="Price of a million prompt tokens; None: costs are not counted."
    )
    cached_usd_per_million: float | None = Field(
        None, ge=0, description="Prompt tokens that the endpoint had cached; None: full price."
    )
    generated_usd_per_million: float = Field(0.0, ge=0, description="A million sampled tokens.")
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="Parameters added to every request, such as `chat_template_kwargs`.",
    )
    connections: int = Field(16, ge=1, description="Open connections of one attempt.")
    calls_at_once: int = Field(4, ge=1, description="Calls of one attempt worked on at a time.")
    request_seconds: float = Field(60.0, gt=0, description="For a client to send a request.")
    request_bytes: int = Field(8 * MIB, ge=1024, description="Largest request of an agent.")
    answer_bytes: int = Field(64 * MIB, ge=1024, description="Largest answer of the endpoint.")
