"""The model's side of an attempt: two questions, each with the answers that it may give."""

import time
from collections.abc import Sequence
from typing import Any

from harness.agents.base import Emit, Endpoint, EndpointFailure
from harness.agents.chat import (
    ChatClient,
    ContextOverflowError,
    OutOfTimeError,
    RefusedRequestError,
)
from harness.records import Budget, Event, StopReason, Usage


class Ended(Exception):  # noqa: N818
    """The attempt is over before its edit is made."""

    def __init__(self, reason: StopReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Conversation:
    """The messages, the budget, the counts and the events of one attempt."""

    def __init__(self, client: ChatClient, endpoint: Endpoint, budget: Budget, emit: Emit) -> None:
        self._client = client
        self._endpoint = endpoint
        self._budget = budget
        self._emit = emit
        self._began = time.monotonic()
        self._messages: list[dict[str, str]] = []
        self.usage = Usage()

    def choose(self, state: str, choices: Sequence[str], only: str | None = None) -> str:
        """The model's choice in a state; with `only`, it may say nothing else.

        Raises Ended, EndpointFailure.
        """
        usage, budget = self.usage, self._budget
        if usage.turns >= budget.turns:
            raise Ended(StopReason.TURN_CAP, f"{budget.turns} model calls used up")
        left = budget.wall_clock_seconds - (time.monotonic() - self._began)
        if left <= 0:
            raise Ended(StopReason.WALL_CLOCK, f"{budget.wall_clock_seconds:g} s used up")
        most = self._endpoint.decoding.max_tokens
        if budget.tokens is not None:
            most = min(most, budget.tokens - usage.generated_tokens)
            if most <= 0:
                raise Ended(StopReason.TOKEN_CAP, f"{budget.tokens} generated tokens used up")
        self._messages.append({"role": "user", "content": state})
        self.usage = usage = usage.model_copy(update={"turns": usage.turns + 1})
        allowed = choices if only is None else [only]
        try:
            answer = self._client.complete(
                self._messages, max_tokens=most, timeout=left, choices=allowed
            )
        except OutOfTimeError as error:
            raise Ended(StopReason.WALL_CLOCK, str(error)) from error
        except ContextOverflowError as error:
            raise Ended(StopReason.TOKEN_CAP, f"the context is full: {error}") from error
        except RefusedRequestError as error:
            raise EndpointFailure(str(error)) from error
        self.usage = usage.model_copy(
            update={
                "prompt_tokens": usage.prompt_tokens + answer.prompt_tokens,
                "generated_tokens": usage.generated_tokens + answer.generated_tokens,
            }
        )
        self.event(
            "assistant",
            answer.text,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            generated_tokens=answer.generated_tokens,
            model_seconds=round(answer.seconds, 3),
            choices=len(choices),
        )
        if answer.text not in allowed:
            raise Ended(
                StopReason.AGENT_ERROR,
                f"the answer {answer.text!r:.200} ({answer.finish_reason}) is none of the "
                f"{len(allowed)} choices: the endpoint has to honour "
                '`structured_outputs: {"choice": [...]}`, with max_tokens enough for one',
            )
        self._messages.append({"role": "assistant", "content": answer.text})
        return answer.text

    def acted(self, text: str, observation: str, **data: Any) -> None:
        """Record an action of the agent's and what came of it."""
        count = self.usage.tool_calls + 1
        self.usage = self.usage.model_copy(update={"tool_calls": count})
        self.event("action", text, **data)
        self.event("observation", observation)

    def event(self, kind: Any, text: str, **data: Any) -> None:
        """Record an event now."""
        seconds = round(time.monotonic() - self._began, 3)
        self._emit(Event(step=self.usage.turns, seconds=seconds, kind=kind, text=text, data=data))
