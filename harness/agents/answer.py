"""The agent that answers a question: one call of the model, no tools."""

import time
from pathlib import Path

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
        with ChatClient(endpoint) as client:
            try:
                answer = client.complete(
                    [{"role": "user", "content": asked}],
                    max_tokens=most,
                    timeout=budget.wall_clock_seconds,
                )
            except OutOfTimeError as error:
                return _no_answer(StopReason.WALL_CLOCK, str(error), began, emit)
            except ContextOverflowError as error:
                text = f"the context is full: {error}"
                return _no_answer(StopReason.TOKEN_CAP, text, began, emit)
            except RefusedRequestError as error:
                raise EndpointFailure(str(error)) from error
        text = answer.text.encode(errors="replace").decode()  # no half of a surrogate pair
        counts = {
            "prompt_tokens": answer.prompt_tokens,
            "generated_tokens": answer.generated_tokens,
        }
        seconds = round(time.monotonic() - began, 3)
        data = {"finish_reason": answer.finish_reason, **counts}
        emit(Event(step=1, seconds=seconds, kind="assistant", text=text or "(nothing)", data=data))
        cut = answer.finish_reason == "length"
        return Outcome(
            patch=text,
            stop_reason=StopReason.TOKEN_CAP if cut else StopReason.FINISHED,
            usage=Usage(turns=1, **counts),
        )


def _no_answer(reason: StopReason, text: str, began: float, emit: Emit) -> Outcome:
    seconds = round(time.monotonic() - began, 3)
    emit(Event(step=1, seconds=seconds, kind="note", text=text))
    return Outcome(patch="", stop_reason=reason, detail=text, usage=Usage(turns=1))
