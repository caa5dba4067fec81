"""mini-swe-agent's model protocol on our endpoint."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from minisweagent.exceptions import FormatError
from minisweagent.models.utils.actions_text import format_observation_messages, parse_regex_actions
from minisweagent.models.utils.actions_toolcall import (
    BASH_TOOL,
    format_toolcall_observation_messages,
    parse_toolcall_actions,
)

from harness.agents.base import Endpoint, EndpointFailure
from harness.agents.chat import (
    ChatClient,
    Completion,
    ContextOverflowError,
    OutOfTimeError,
    RefusedRequestError,
)
from harness.agents.mini import Prompts
from harness.agents.mini_attempt import LiveAttempt, Message, stop
from harness.records import StopReason


class ChatModel:
    """mini-swe-agent's `Model` on an OpenAI-compatible endpoint."""

    def __init__(
        self,
        client: ChatClient,
        endpoint: Endpoint,
        prompts: Prompts,
        attempt: LiveAttempt,
    ) -> None:
        self.config = prompts
        self._client = client
        self._endpoint = endpoint
        self._attempt = attempt

    def query(self, messages: list[Message], **_: Any) -> Message:
        """The model's next message, its actions parsed. Raises FormatError and `stop`s."""
        attempt, prompts = self._attempt, self.config
        if attempt.turns >= attempt.budget.turns:
            raise stop(StopReason.TURN_CAP, f"{attempt.budget.turns} model calls used up")
        answer = self._complete(messages)
        text = _closed(answer, prompts)
        attempt.prompt_tokens += answer.prompt_tokens
        attempt.generated_tokens += answer.generated_tokens
        calls = [call.model_dump() for call in answer.tool_calls]
        attempt.emit(
            "assistant",
            text,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            generated_tokens=answer.generated_tokens,
            model_seconds=round(answer.seconds, 3),
            **({"tool_calls": calls} if calls else {}),
        )
        try:
            actions = self._actions(text, answer)
        except FormatError as error:
            raise FormatError({"role": "assistant", "content": text}, *error.messages) from None
        message: Message = {"role": "assistant", "content": text, "extra": {"actions": actions}}
        if calls and prompts.action_regex is None:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for call in calls
            ]
        return message

    def format_message(self, **message: Any) -> Message:
        """A message, as given."""
        return message

    def format_observation_messages(
        self, message: Message, outputs: list[Message], template_vars: Message | None = None
    ) -> list[Message]:
        """What the model gets to see of the outputs of its actions."""
        formatted: list[Message]
        if self.config.action_regex is None:
            formatted = format_toolcall_observation_messages(
                actions=message["extra"]["actions"],
                outputs=outputs,
                observation_template=self.config.observation,
                template_vars=template_vars,
            )
        else:
            formatted = format_observation_messages(
                outputs, observation_template=self.config.observation, template_vars=template_vars
            )
        return formatted

    def get_template_vars(self, **_: Any) -> Message:
        """Nothing of the model is part of a prompt."""
        return {}

    def serialize(self) -> Message:
        """Nothing: events are the record of an attempt."""
        return {}

    def _complete(self, messages: Sequence[Message]) -> Completion:
        attempt = self._attempt
        most = self._endpoint.decoding.max_tokens
        if attempt.budget.tokens is not None:
            left = attempt.budget.tokens - attempt.generated_tokens
            if left <= 0:
                detail = f"{attempt.budget.tokens} generated tokens used up"
                raise stop(StopReason.TOKEN_CAP, detail)
            most = min(most, left)
        timeout = attempt.seconds_left()
        attempt.turns += 1
        try:
            return self._client.complete(
                [_for_the_wire(message) for message in messages],
                max_tokens=most,
                timeout=timeout,
                tools=[BASH_TOOL] if self.config.action_regex is None else (),
                stop=self.config.stop,
            )
        except OutOfTimeError as error:
            detail = f"{attempt.budget.wall_clock_seconds:g} s used up in a model call: {error}"
            raise stop(StopReason.WALL_CLOCK, detail) from error
        except ContextOverflowError as error:
            raise stop(StopReason.TOKEN_CAP, f"the context is full: {error}") from error
        except RefusedRequestError as error:
            if attempt.turns == 1:  # nothing of the model's is in it yet
                raise EndpointFailure(str(error)) from error
            raise stop(StopReason.AGENT_ERROR, f"refused by the endpoint: {error}") from error

    def _actions(self, text: str, answer: Completion) -> list[Message]:
        prompts = self.config
        template_kwargs = {"finish_reason": answer.finish_reason}
        actions: list[Message]
        if prompts.action_regex is not None:
            actions = parse_regex_actions(
                text,
                action_regex=prompts.action_regex,
                format_error_template=prompts.format_error,
                template_kwargs=template_kwargs,
            )
        else:
            actions = parse_toolcall_actions(
                [
                    SimpleNamespace(
                        id=call.id,
                        function=SimpleNamespace(name=call.name, arguments=call.arguments),
                    )
                    for call in answer.tool_calls
                ],
                format_error_template=prompts.format_error,
                template_kwargs=template_kwargs,
            )
        for action in actions:
            action["command"] = str(action["command"])
        return actions


def _closed(answer: Completion, prompts: Prompts) -> str:
    """The answer's text, with the end of its code block where the stop string cut it off."""
    text = answer.text
    if prompts.stop is not None and answer.finish_reason == "stop" and text.count("```") % 2:
        return f"{text.rstrip()}\n```"
    return text


def _for_the_wire(message: Message) -> Message:
    return {key: value for key, value in message.items() if key != "extra"}
