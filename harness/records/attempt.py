"""What an agent did on one instance: budget, events, outcome, attempt."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from harness.records.base import Record


class StopReason(StrEnum):
    """Why a rollout ended; every attempt has exactly one."""

    FINISHED = "finished"  # the agent submitted
    TURN_CAP = "turn_cap"  # the budget's number of model calls was used up
    WALL_CLOCK = "wall_clock"  # the budget's seconds were used up
    TOKEN_CAP = "token_cap"  # noqa: S105  # the context window or the token budget was used up
    STUCK = "stuck"  # the agent repeated itself
    AGENT_ERROR = "agent_error"  # the agent failed, or answered in no usable format
    INFRASTRUCTURE = "infrastructure"  # sandbox or endpoint failed; retried, never graded


class Budget(Record):
    """Limits of one attempt. Source: CHOP App. K."""

    turns: int = Field(50, ge=1, description="Model calls.")
    wall_clock_seconds: float = Field(600.0, gt=0)
    tool_calls_per_turn: int = Field(50, ge=1)
    tokens: int | None = Field(None, ge=1, description="Generated tokens; none: no cap.")


class Event(Record):
    """One line of `events.jsonl`: what the agent saw, said or did."""

    step: int = Field(ge=0, description="Model calls made before or at this event.")
    seconds: float = Field(ge=0, description="Since the attempt began.")
    kind: Literal["system", "user", "assistant", "action", "observation", "note"]
    text: str
    data: dict[str, Any] = Field(default_factory=dict)


class Usage(Record):
    """What an attempt consumed. Tokens are the endpoint's own counts."""

    turns: int = 0
    tool_calls: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    cost_usd: float | None = None


class Outcome(Record):
    """What an agent returns: the patch it proposes and why it stopped."""

    patch: str
    stop_reason: StopReason
    detail: str = ""
    usage: Usage = Usage()


def encode_patch(patch: str) -> bytes:
    """A patch's bytes. Text that is not UTF-8 in the work tree is kept as surrogates."""
    return patch.encode(errors="surrogateescape")


def decode_patch(data: bytes) -> str:
    """The inverse of `encode_patch`."""
    return data.decode(errors="surrogateescape")


class ModelCalls(Record):
    """What went through an attempt's gateway; each call is a row of `calls.parquet`."""

    calls: int = Field(0, description="Calls that an agent made, refused ones included.")
    answered: int = 0
    retries: int = Field(0, description="Requests to the endpoint that were repeated.")
    ids_from_endpoint: int = Field(0, description="Answers with the endpoint's own token ids.")
    ids_retokenised: int = Field(0, description="Answers whose ids were made from their text.")
    without_ids: int = 0


class Attempt(Record):
    """`attempt.json`: one rollout of one method on one instance with one seed."""

    schema_version: Literal[1] = 1
    instance_id: str
    method: str
    seed: int
    model: str | None
    stop_reason: StopReason
    detail: str
    usage: Usage
    model_calls: ModelCalls | None = Field(None, description="None: no gateway was used.")
    patch_sha256: str
    patch_bytes: int
    started_at: str = Field(description="UTC, ISO 8601.")
    seconds: float
    tries: int = Field(1, ge=1, description="Starts needed, infrastructure failures included.")
