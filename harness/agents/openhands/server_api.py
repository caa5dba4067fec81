"""The part of the agent-server's interface that is used: what is sent, and what is answered.

What is sent is checked strictly. In answers only the fields that are used are checked; others may
come and go.
"""

from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from harness.records import Record


class Text(Record):
    """Text of a message."""

    type: Literal["text"] = "text"
    text: str


class Message(Record):
    """What the user says; with `run` the agent goes to work on it."""

    role: Literal["user"] = "user"
    content: tuple[Text, ...]
    run: bool = True


class Workspace(Record):
    """Where the agent works."""

    kind: Literal["LocalWorkspace"] = "LocalWorkspace"
    working_dir: str


class NeverConfirm(Record):
    """Every action is carried out."""

    kind: Literal["NeverConfirm"] = "NeverConfirm"


class StartConversation(Record):
    """A new conversation; `agent` is an SDK agent, as the SDK writes one as JSON."""

    conversation_id: UUID
    agent: dict[str, JsonValue]
    workspace: Workspace
    max_iterations: int = Field(ge=1)
    stuck_detection: bool = True
    autotitle: Literal[False] = False
    confirmation_policy: NeverConfirm = NeverConfirm()
    tool_module_qualnames: dict[str, str] = Field(
        description="The modules that register the agent's tools."
    )


class Status(StrEnum):
    """What a conversation is doing."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING_FOR_CONFIRMATION = "waiting_for_confirmation"
    FINISHED = "finished"
    ERROR = "error"
    STUCK = "stuck"
    DELETING = "deleting"

    @property
    def ended(self) -> bool:
        """Whether the agent does no more of its own accord."""
        return self not in (Status.IDLE, Status.RUNNING)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ServerInfo(_Answer):
    """Who answers."""

    title: str = Field(max_length=200)
    version: str = Field(max_length=100)


class Conversation(_Answer):
    """The state of a conversation."""

    id: UUID
    execution_status: Status


class RemoteEvent(BaseModel):
    """An event of a conversation; fields that are not named here are kept as they came."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str = Field(max_length=100)
    kind: str = Field(max_length=100)
    parent_id: str | None = Field(None, max_length=100)

    @property
    def raw(self) -> dict[str, JsonValue]:
        """All of the event, without what is null."""
        return self.model_dump(exclude_none=True)


class EventPage(_Answer):
    """Some events, in order, and the id of the first one after them."""

    items: tuple[RemoteEvent, ...]
    next_page_id: str | None = Field(None, max_length=100)
