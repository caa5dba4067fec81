"""The agent that answers a question: one call of the model, no tools."""

import time
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from harness.agents.base import Agent, Emit, Endpoint, EndpointFailure
from harness.agents.chat import (
    ChatClient,
    ContextOverflowError,
    OutOfTimeError,
    RefusedRequestError,
)
from harness.records import Budget, Event, Instance, Outcome, Record, StopReason, Usage

PLACE = "{question}"


class AnswerOptions(Record):
    """Options of the answering agent."""

    prompt: str = Field(PLACE, description="What the model is asked, with `{question}` in it.")

    @field_validator("prompt")
    @classmethod
    def _asks(cls, prompt: str) -> str:
        if PLACE not in prompt:
            raise ValueError(f"the prompt has no {PLACE}")
        return prompt


class AnswerAgent(Agent):
    """Proposes the model's response, whole, as what an attempt's `patch.diff` holds."""

    def __init__(self, options: AnswerOptions) -> None:
        self._prompt = options.prompt

    def run(
        self,
        instance: Instance,
        *,
        sandbox: object,
        endpoint: Endpoint | None,
        budget: Budget,
        seed: int,
        emit: Emit,
        logs: Path,
    ) -> Outcome:
        """See `Agent.run`. Raises ValueError without an endpoint."""
        if endpoint is None:
            raise ValueError("the answering agent needs a model endpoint")
        asked = self._prompt.replace(PLACE, instance.problem_statement)
        emit(Event(step=0, seconds=0, kind="user", text=asked))
        most = min(endpoint.decoding.max_tokens, budget.tokens or endpoint.decoding.max_tokens)
        began = time.monotonic()

        def end(kind: Any, reason: StopReason, text: str, patch: str = "", **data: Any) -> Outcome:
            usage = Usage(
                turns=1,
                prompt_tokens=data.get("prompt_tokens", 0),
                generated_tokens=data.get("generated_tokens", 0),
            )
            seconds = round(time.monotonic() - began, 3)
            emit(Event(step=1, seconds=seconds, kind=kind, text=text or "(nothing)", data=data))
            detail = text if kind == "note" else ""
            return Outcome(patch=patch, stop_reason=reason, detail=detail, usage=usage)

        with ChatClient(endpoint) as client:
            try:
                answer = client.complete(
                    [{"role": "user", "content": asked}],
                    max_tokens=most,
                    timeout=budget.wall_clock_seconds,
                )
            except OutOfTimeError as error:
                return end("note", StopReason.WALL_CLOCK, str(error))
            except ContextOverflowError as error:
                return end("note", StopReason.TOKEN_CAP, f"the context is full: {error}")
            except RefusedRequestError as error:
                raise EndpointFailure(str(error)) from error
        text = answer.text.encode(errors="replace").decode()  # no half of a surrogate pair
        cut = answer.finish_reason == "length"
        return end(
            "assistant",
            StopReason.TOKEN_CAP if cut else StopReason.FINISHED,
            text,
            text,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            generated_tokens=answer.generated_tokens,
            model_seconds=round(answer.seconds, 3),
        )
