"""What can be chosen about the OpenHands agent."""

from typing import Literal

from pydantic import Field

from harness.records import Record

ToolName = Literal["terminal", "file_editor", "task_tracker", "grep", "glob"]


class Condenser(Record):
    """OpenHands summarises events when there are more than `max_size` of them."""

    max_size: int = Field(80, ge=8)
    keep_first: int = Field(4, ge=0)
    max_tokens: int | None = Field(None, ge=1)


class OpenHandsOptions(Record):
    """Options of the openhands agent. The defaults are OpenHands' own, but for the condenser."""

    transport: Literal["exec", "server"] = Field(
        "exec", description="exec: our runner, one process; server: the agent-server."
    )
    prompt: Literal["auto", "standard", "short"] = Field(
        "auto", description="auto: short for a context of up to 16K tokens, else standard."
    )
    tools: tuple[ToolName, ...] | None = Field(None, description="None: the prompt's own tools.")
    native_tool_calling: bool = Field(
        True, description="False: OpenHands' text protocol, for models without tool calls."
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
    max_input_tokens: int | None = Field(None, ge=1, description="None: as the endpoint says.")
    startup_seconds: float = Field(120.0, gt=0, description="Time limit until the first call.")
    env: dict[str, str] = Field(default_factory=dict, description="Environment of commands.")
    toolchain: str | None = Field(
        None, description="Folder or Docker volume with the toolchain. None: the one built here."
    )
