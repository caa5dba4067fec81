"""One attempt in mini-swe-agent's loop. Import only after `mini` has imported the library."""

import json
from collections.abc import Mapping
from typing import Any

from minisweagent.agents.default import DefaultAgent
from minisweagent.exceptions import Submitted

from harness.agents.base import Emit, Endpoint, EndpointFailure
from harness.agents.chat import ChatClient, OutOfTimeError
from harness.agents.mini import SHORT_CONTEXT, MiniOptions, Prompts, load_prompts
from harness.agents.mini_attempt import LiveAttempt, Message, clip, stop
from harness.agents.mini_model import ChatModel
from harness.records import Budget, Outcome, StopReason
from harness.sandboxes.base import WORKDIR, Sandbox

SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
SAME_TURNS = 4  # identical answers in a row that count as stuck


class SandboxEnvironment:
    """mini-swe-agent's `Environment` on our sandbox."""

    def __init__(
        self, sandbox: Sandbox, options: MiniOptions, prompts: Prompts, attempt: LiveAttempt
    ) -> None:
        self.config = options
        self._sandbox = sandbox
        self._characters = prompts.observation_characters
        self._attempt = attempt

    def execute(self, action: Message, cwd: str = "") -> Message:
        """Run one command. Raises Submitted when it is the agent's submission, and `stop`s."""
        command = action["command"]
        limit = min(self.config.command_seconds, self._attempt.seconds_left())
        self._attempt.tool_calls += 1
        self._attempt.emit("action", command)
        result = self._sandbox.exec(command, timeout=limit, cwd=cwd or WORKDIR, env=self.config.env)
        text = result.text
        if _is_submission(command, text) and result.exit_code == 0:
            raise Submitted({"role": "exit", "content": "", "extra": {"exit_status": "Submitted"}})
        killed = f"killed after {limit:.0f} s" if result.timed_out else ""
        return {
            "output": clip(text, self._characters),
            "returncode": -1 if result.exit_code is None else result.exit_code,
            "exception_info": killed,
            "extra": {
                "seconds": round(result.seconds, 3),
                "output_bytes": result.output_bytes,
                "timed_out": result.timed_out,
            },
        }

    def get_template_vars(self, **_: Any) -> Message:
        """What prompts may say about the environment."""
        return {"command_seconds": f"{self.config.command_seconds:g}"}

    def serialize(self) -> Message:
        """Nothing: events are the record of an attempt."""
        return {}


class Rollout(DefaultAgent):  # type: ignore[misc]
    """mini-swe-agent's agent; its messages become events."""

    def __init__(
        self,
        model: ChatModel,
        env: SandboxEnvironment,
        prompts: Prompts,
        attempt: LiveAttempt,
        *,
        format_errors: int,
    ) -> None:
        super().__init__(
            model,
            env,
            system_template=prompts.system,
            instance_template=prompts.instance,
            max_consecutive_format_errors=format_errors,
            cost_limit=0,
        )
        self._attempt = attempt
        self._last = ""
        self._same = 0

    def add_messages(self, *messages: Message) -> list[Message]:
        """Add to the history; what is not the model's own is an event."""
        for message in messages:
            extra = message.get("extra", {})
            if message["role"] == "system":
                self._attempt.emit("system", message["content"])
            elif "raw_output" in extra:
                kept = ("returncode", "seconds", "output_bytes", "timed_out")
                data = {key: extra[key] for key in kept if key in extra}
                self._attempt.emit("observation", message["content"], **data)
            elif message["role"] == "user":
                self._attempt.emit("user", message["content"])
        added: list[Message] = super().add_messages(*messages)
        return added

    def execute_actions(self, message: Message) -> list[Message]:
        """Run at most the budget's number of actions; stop when the model repeats itself."""
        actions = message["extra"]["actions"]
        said = json.dumps([message["content"], [action["command"] for action in actions]])
        self._same = self._same + 1 if said == self._last else 1
        self._last = said
        if self._same == SAME_TURNS:
            raise stop(StopReason.STUCK, f"the same thought and action {SAME_TURNS} times")
        most = self._attempt.budget.tool_calls_per_turn
        outputs = [self.env.execute(action) for action in actions[:most]]
        observed: list[Message] = self.add_messages(
            *self.model.format_observation_messages(message, outputs, self.get_template_vars())
        )
        return observed


def roll_out(
    task: str,
    *,
    sandbox: Sandbox,
    endpoint: Endpoint,
    budget: Budget,
    emit: Emit,
    options: MiniOptions,
) -> Outcome:
    """Run the loop to its end; the outcome has no patch yet.

    Raises SandboxFailure, EndpointFailure.
    """
    attempt = LiveAttempt(budget, emit)
    with ChatClient(endpoint) as client:
        prompts = _prompts(options, client, attempt)
        rollout = Rollout(
            ChatModel(client, endpoint, prompts, attempt),
            SandboxEnvironment(sandbox, options, prompts, attempt),
            prompts,
            attempt,
            format_errors=options.format_errors,
        )
        end = rollout.run(clip(task, prompts.task_characters or len(task)))
    reason, detail = _ending(end, options)
    attempt.emit("note", f"{reason}: {detail}" if detail else str(reason))
    return Outcome(patch="", stop_reason=reason, detail=detail, usage=attempt.usage())


def _prompts(options: MiniOptions, client: ChatClient, attempt: LiveAttempt) -> Prompts:
    if options.prompt != "auto":
        return load_prompts(options.prompt)
    try:
        context = client.context_length(timeout=attempt.seconds_left())
    except OutOfTimeError as error:
        raise EndpointFailure(f"the endpoint does not list its models: {error}") from error
    return load_prompts("short" if (context or SHORT_CONTEXT + 1) <= SHORT_CONTEXT else "standard")


def _ending(end: Mapping[str, Any], options: MiniOptions) -> tuple[StopReason, str]:
    status = end["exit_status"]
    if status == "Submitted":
        return StopReason.FINISHED, ""
    if status == "RepeatedFormatError":
        detail = f"{options.format_errors} unusable answers in a row"
        return StopReason.AGENT_ERROR, detail
    return StopReason(status), end["detail"]


def _is_submission(command: str, output: str) -> bool:
    """Whether the command was meant to submit: the sentinel printed by a file is not enough."""
    lines = output.lstrip().split("\n", 1)
    return SUBMIT in command and lines[0].strip() == SUBMIT
