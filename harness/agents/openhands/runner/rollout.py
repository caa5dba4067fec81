"""The loop around the conversation: turns, nudges, the wall clock, and the one reason to stop.

Import only inside `settings.importing`.
"""

import asyncio
import resource
import threading
import time
from typing import Any

from openhands.sdk import Event, LocalConversation
from openhands.sdk.conversation.exceptions import ConversationRunError
from openhands.sdk.conversation.state import ConversationExecutionStatus as Status
from openhands.sdk.event import ActionEvent, Condensation, MessageEvent
from openhands.sdk.llm.exceptions import (
    LLMAuthenticationError,
    LLMContextWindowExceedError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
    LLMTimeoutError,
)
from openhands.sdk.tool.builtins.finish import FinishAction

from .output import Output
from .wire import Wire

Ending = tuple[str, str]

_ENDPOINT_ERRORS = (
    LLMAuthenticationError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
    LLMTimeoutError,
)
_DETAIL_CHARACTERS = 2000
_CONDENSATIONS = 3  # in a row; when they do not help, more of them do not
_TOO_LONG = "token_cap", "the conversation does not fit into the model's context"
_UNSERIALISABLE = '{"kind":"UnserialisableEvent"}'


class Rollout:
    """One conversation from its first model call to its end."""

    def __init__(self, spec: dict[str, Any], wire: Wire, output: Output) -> None:
        self._spec = spec
        self._wire = wire
        self._output = output
        self._tool_calls = 0
        self._finished = False
        self._plain_answer = False
        self._out_of_time = False
        self._condensations = 0
        self._conversation: LocalConversation | None = None

    def on_event(self, event: Event) -> None:
        """Pass on an event, and remember what decides how the attempt ends."""
        if isinstance(event, Condensation):
            self._condensations += 1
            if self._condensations > _CONDENSATIONS and self._conversation:
                self._conversation.interrupt()
        elif isinstance(event, ActionEvent):
            self._tool_calls += 1
            self._condensations = 0
            self._plain_answer = False
            self._finished = isinstance(event.action, FinishAction)
        elif isinstance(event, MessageEvent) and event.source == "agent":
            self._condensations = 0
            self._plain_answer = True
        try:
            text = event.model_dump_json(exclude_none=True)
        except ValueError:  # text that is not Unicode, as a model may write it
            text = _UNSERIALISABLE
        self._output.write("event", self._wire.turns, text)

    async def run(self, conversation: LocalConversation) -> None:
        """Run to the end, and leave the process there."""
        seconds = self._spec["wall_clock_seconds"]
        hard = threading.Timer(
            seconds + self._spec["grace_seconds"], self._end, [_wall_clock(seconds)]
        )
        hard.daemon = True
        hard.start()
        asyncio.get_running_loop().call_later(seconds, self._interrupt, conversation)
        self._conversation = conversation
        self._end(await self._ending(conversation))

    def _interrupt(self, conversation: LocalConversation) -> None:
        self._out_of_time = True
        conversation.interrupt()

    def _end(self, ending: Ending) -> None:
        reason, detail = ending
        self._output.end(
            self._wire.turns,
            {
                "reason": reason,
                "detail": detail[:_DETAIL_CHARACTERS],
                "turns": self._wire.turns,
                "tool_calls": self._tool_calls,
                "prompt_tokens": self._wire.prompt_tokens,
                "generated_tokens": self._wire.generated_tokens,
                "cpu_seconds": round(time.process_time(), 3),
                "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            },
        )

    async def _ending(self, conversation: LocalConversation) -> Ending:
        """Run until something ends the attempt; say what."""
        turns, nudges = self._spec["turns"], self._spec["nudges"]
        while True:
            conversation.max_iteration_per_run = turns - self._wire.turns
            error: BaseException | None = None
            try:
                await conversation.arun()
            except ConversationRunError as failure:
                error = failure.original_exception
            except Exception as failure:  # the SDK's own, before the conversation runs
                error = failure
            status = conversation.state.execution_status
            if status is Status.FINISHED and self._finished:
                return "finished", ""
            if self._out_of_time:
                return _wall_clock(self._spec["wall_clock_seconds"])
            if self._condensations > _CONDENSATIONS:
                return _TOO_LONG
            if error is not None:
                return self._failure(error)
            if status is Status.STUCK:
                return "stuck", "the agent repeats itself"
            if self._wire.turns >= turns:
                return "turn_cap", f"{turns} model calls used up"
            if status is Status.ERROR:  # out of iterations, some of them no turns
                continue
            if status is Status.FINISHED and self._plain_answer:
                if self._spec["nudges"] == 0:
                    return "finished", "a plain answer"
                if nudges == 0:
                    return "agent_error", f"{self._spec['nudges'] + 1} answers without a tool call"
                nudges -= 1
                conversation.send_message(self._spec["nudge"])
            else:
                return "agent_error", f"the conversation ended as {status.value}"

    def _failure(self, error: BaseException) -> Ending:
        detail = f"{type(error).__name__}: {error}"
        refusal = self._wire.refusal
        if refusal is not None and refusal.code in self._spec["refusals"]:
            return self._spec["refusals"][refusal.code], refusal.message
        if isinstance(error, LLMContextWindowExceedError):
            return _TOO_LONG
        if isinstance(error, _ENDPOINT_ERRORS):
            return "infrastructure", detail
        return "agent_error", detail


def _wall_clock(seconds: float) -> Ending:
    return "wall_clock", f"{seconds:g} s used up"
