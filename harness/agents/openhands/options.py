"""What can be chosen about the OpenHands agent."""

from typing import Literal, Self

from pydantic import Field, model_validator

from harness.records import Record

ToolName = Literal["terminal", "file_editor", "task_tracker", "grep", "glob"]


class Condenser(Record):
    """OpenHands has old events summarised by the model when there are too many.

    The first `keep_first` events stay. Raises ValueError when they leave nothing to summarise.
    """

    max_size: int = Field(240, ge=8, description="Events of a history.")
    max_tokens: int | None = Field(
        None, ge=1, description="Tokens of a history. None: what the context leaves to a prompt."
    )
    keep_first: int = Field(2, ge=0)

    @model_validator(mode="after")
    def _some_are_left(self) -> Self:
        if self.max_size // 2 - self.keep_first < 2:
            raise ValueError("keep_first must be less than half of max_size, by 2 at least")
        return self


class OpenHandsOptions(Record):
    """Options of the openhands agent. The defaults are OpenHands' own, but for the condenser."""

    transport: Literal["exec", "server"] = Field(
        "exec", description="exec: our runner, one process; server: the agent-server."
    )
    prompt: Literal["auto", "standard", "short"] = Field(
        "auto", description="auto: short for a context of up to 16K tokens, else standard."
    )
    tools: tuple[ToolName, ...] | None = Field(None, description="None: the prompt's own tools.")
    native_tool_calling: bool | None = Field(
        None,
        description="False: OpenHands' text protocol, for models without tool calls. None: as the "
        "prompt says, which is false for the short one.",
    )
    condenser: Condenser | None = Field(None, description="None: no call changes the history.")
    stuck_detection: bool = True
    nudges: int = Field(
        10,
        ge=0,
        description="Answers without a tool call that are met with a request to go on; with 0 "
        "such an answer submits.",
    )
    no_change_seconds: int = Field(
        30, ge=1, description="A command that prints nothing for so long is handed to the model."
    )
    startup_seconds: float = Field(300.0, gt=0, description="Time limit until the first call.")
    env: dict[str, str] = Field(default_factory=dict, description="Environment of commands.")
