"""What a conversation consists of, whichever way it is held."""

from typing import Any

from pydantic import Field

from harness.agents.base import Endpoint
from harness.agents.openhands.options import Condenser, OpenHandsOptions
from harness.agents.openhands.prompts import Prompt
from harness.records import Budget, Record, StopReason, Usage
from harness.sandboxes.base import WORKDIR

# The gateway knows the model. Names that the SDK and its client know change what they send.
MODEL = "openai/model"
PURPOSE_HEADER = "X-Harness-Purpose"
CONDENSER = "condenser"
REFUSALS = {  # what the gateway's refusals mean, by their code
    "turn_cap": StopReason.TURN_CAP,
    "token_cap": StopReason.TOKEN_CAP,
    "context_length_exceeded": StopReason.TOKEN_CAP,
    "endpoint_failed": StopReason.INFRASTRUCTURE,
}

_CLIENT_SECONDS = 60  # a call that hangs is ended by the wall clock, not by the SDK's client


class Spec(Record):
    """One conversation. `agent` is an SDK agent as the SDK reads one from JSON."""

    agent: dict[str, Any]
    modules: tuple[str, ...]
    workspace: str = WORKDIR
    task: str
    nudge: str
    nudges: int
    output_characters: int | None = None
    turns: int
    stuck_detection: bool
    startup_seconds: float
    wall_clock_seconds: float


class Ending(Record):
    """Why a conversation ended, what it used, and what else was measured."""

    reason: StopReason
    detail: str = ""
    usage: Usage = Usage()
    figures: dict[str, float] = Field(default_factory=dict)


def make_spec(
    options: OpenHandsOptions,
    prompt: Prompt,
    issue: str,
    *,
    endpoint: Endpoint,
    base_url: str,
    context: int | None,
    budget: Budget,
    seed: int,
) -> Spec:
    """The conversation on an issue. `base_url` is the endpoint's within the sandbox; `context`
    the tokens that prompt and answer may have together."""
    tools = options.tools or prompt.tools
    native = options.native_tool_calling
    if native is None:
        native = prompt.native_tool_calling
    llm: dict[str, Any] = {
        "usage_id": "agent",
        "model": MODEL,
        "base_url": base_url,
        "api_key": "none",
        "api_mode": "chat",
        "native_tool_calling": native,
        "max_output_tokens": endpoint.decoding.max_tokens,
        "temperature": endpoint.decoding.temperature,
        "top_p": endpoint.decoding.top_p,
        "seed": seed,
        "num_retries": 0,
        "timeout": int(budget.wall_clock_seconds) + _CLIENT_SECONDS,
        "caching_prompt": False,
        "disable_vision": True,
        "reasoning_effort": None,
        "capability_overrides": {
            "supports_sampling_params": True,  # else dropped: the name is not known
            "supports_reasoning_effort": False,
            "supports_prompt_cache_key": False,
        },
    }
    terminal = {
        "terminal_type": "subprocess",
        "no_change_timeout_seconds": options.no_change_seconds,
        "env": options.env,
    }
    agent: dict[str, Any] = {
        "kind": "Agent",
        "llm": llm,
        "tools": [
            {"name": name, "params": terminal if name == "terminal" else {}} for name in tools
        ],
        "include_default_tools": list(prompt.builtin_tools),
        "system_prompt_kwargs": {"cli_mode": True},
    }
    if prompt.system is not None:
        agent["system_prompt"] = prompt.system
    if options.condenser is not None:
        agent["condenser"] = _condenser(options.condenser, llm, endpoint, context)
    return Spec(
        agent=agent,
        modules=tuple(f"openhands.tools.{name}" for name in tools),
        task=prompt.task(issue),
        nudge=prompt.nudge,
        nudges=options.nudges,
        output_characters=prompt.output_characters,
        turns=budget.turns,
        stuck_detection=options.stuck_detection,
        startup_seconds=options.startup_seconds,
        wall_clock_seconds=budget.wall_clock_seconds,
    )


def _condenser(
    condenser: Condenser, llm: dict[str, Any], endpoint: Endpoint, context: int | None
) -> dict[str, Any]:
    sizes = condenser.model_dump()
    if condenser.max_tokens is None and context is not None:
        sizes["max_tokens"] = max(1, context - endpoint.decoding.max_tokens)
    headers = {PURPOSE_HEADER: CONDENSER}
    own = {**llm, "usage_id": CONDENSER, "extra_headers": headers}
    return {"kind": "LLMSummarizingCondenser", "llm": own, **sizes}
