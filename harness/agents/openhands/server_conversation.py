"""The course of a conversation on a server: the task, nudges, the wall clock, and its end."""

import asyncio
import json
import time
import uuid
from contextlib import suppress
from typing import Any

from harness.agents.openhands.exec import GRACE_SECONDS
from harness.agents.openhands.recorder import Recorder
from harness.agents.openhands.server_api import RemoteEvent, StartConversation, Status, Workspace
from harness.agents.openhands.server_client import ConnectionLostError, ServerClient, ServerError
from harness.agents.openhands.server_feed import EventFeed
from harness.agents.openhands.spec import Spec
from harness.records import StopReason

_POLL_SECONDS = 2.0
_SHORTEST_POLL_SECONDS = 0.05
_LATE_EVENT_POLLS = 3  # for the event that says what the error was
_DETAIL_CHARACTERS = 2000
_ENDPOINT_ERRORS = frozenset(
    {
        "LLMAuthenticationError",
        "LLMRateLimitError",
        "LLMServiceUnavailableError",
        "LLMTimeoutError",
    }
)


class ServerConversation:
    """One conversation; afterwards, why it ended: `reason` and `detail`, or `failure` when the
    server failed it. `began` tells whether the agent had the task by then."""

    def __init__(self, spec: Spec, recorder: Recorder) -> None:
        self._spec = spec
        self._recorder = recorder
        self._id = uuid.uuid4()
        self._calls: set[str] = set()
        self._finished = False
        self._plain_answer = False
        self._error: dict[str, Any] | None = None
        self._out_of_time = False
        self.began = False
        self.tool_calls = 0
        self.reason: StopReason | None = None
        self.detail = ""
        self.failure = ""

    @property
    def turns(self) -> int:
        """Model calls whose answer is part of the conversation."""
        return len(self._calls)

    async def hold(self, client: ServerClient) -> None:
        """Begin the conversation and see it to its end."""
        try:
            await self._begin(client)
            status = await self._follow(client)
            self.reason, self.detail = self._ending(status)
        except ServerError as error:
            self.failure = str(error)

    async def _begin(self, client: ServerClient) -> None:
        spec = self._spec
        names = [tool["name"] for tool in spec.agent["tools"]]
        request = StartConversation(
            conversation_id=self._id,
            agent=spec.agent,
            workspace=Workspace(working_dir=spec.workspace),
            max_iterations=spec.turns,
            stuck_detection=spec.stuck_detection,
            tool_module_qualnames=dict(zip(names, spec.modules, strict=True)),
        )
        began = time.monotonic()
        try:
            async with asyncio.timeout(spec.startup_seconds):
                info = await client.ready()
                await client.start(request)
        except TimeoutError:
            raise ServerError(f"no agent-server within {spec.startup_seconds:g} s") from None
        seconds = round(time.monotonic() - began, 3)
        self._recorder.note(f"OpenHands agent-server {info.version}", startup_seconds=seconds)
        self.began = True

    async def _follow(self, client: ServerClient) -> Status:
        feed = EventFeed(client, self._id, self._take)
        following = asyncio.create_task(feed.follow())
        try:
            try:
                async with asyncio.timeout(self._spec.wall_clock_seconds):
                    return await self._run(client, feed, following)
            except TimeoutError:
                self._out_of_time = True
            with suppress(TimeoutError, ServerError):
                async with asyncio.timeout(GRACE_SECONDS):
                    await client.interrupt(self._id)
                    return await self._settled(client, feed, following)
            return Status.RUNNING
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _run(
        self, client: ServerClient, feed: EventFeed, following: asyncio.Task[None]
    ) -> Status:
        await client.say(self._id, self._spec.task)
        nudges = self._spec.nudges
        while True:
            status = await self._settled(client, feed, following)
            plain = status is Status.FINISHED and self._plain_answer
            if not plain or nudges == 0 or self.turns >= self._spec.turns:
                return status
            nudges -= 1
            await client.say(self._id, self._spec.nudge)

    async def _settled(
        self, client: ServerClient, feed: EventFeed, following: asyncio.Task[None]
    ) -> Status:
        """Wait until the agent does no more, and its events are here."""
        late = 0
        while True:
            feed.changed.clear()
            if following.done():
                following.result()
            with suppress(ConnectionLostError):
                status = (await client.conversation(self._id)).execution_status
                if status.ended:
                    await feed.catch_up()
                    late += 1
                    if status is not Status.ERROR or self._error or late > _LATE_EVENT_POLLS:
                        return status
            await asyncio.sleep(_SHORTEST_POLL_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await feed.changed.wait()

    def _take(self, event: RemoteEvent) -> None:
        raw = event.raw
        call = raw.get("llm_response_id")
        if isinstance(call, str) and len(self._calls) < self._spec.turns:
            self._calls.add(call)
        if event.kind == "ActionEvent":
            self.tool_calls += 1
            action = raw.get("action")
            self._plain_answer = False
            self._finished = isinstance(action, dict) and action.get("kind") == "FinishAction"
        elif event.kind == "MessageEvent" and raw.get("source") == "agent":
            self._plain_answer = True
        elif event.kind == "ConversationErrorEvent":
            self._error = raw
        self._recorder.event(json.dumps(raw).encode(), self.turns)

    def _ending(self, status: Status) -> tuple[StopReason, str]:
        spec = self._spec
        if status is Status.FINISHED and self._finished:
            return StopReason.FINISHED, ""
        if self._out_of_time:
            return StopReason.WALL_CLOCK, f"{spec.wall_clock_seconds:g} s used up"
        if status is Status.STUCK:
            return StopReason.STUCK, "the agent repeats itself"
        if status is Status.ERROR:
            return self._failed()
        if self.turns >= spec.turns:
            return StopReason.TURN_CAP, f"{spec.turns} model calls used up"
        if status is Status.FINISHED and self._plain_answer:
            if spec.nudges == 0:
                return StopReason.FINISHED, "a plain answer"
            return StopReason.AGENT_ERROR, f"{spec.nudges + 1} answers without a tool call"
        return StopReason.AGENT_ERROR, f"the conversation is {status}"

    def _failed(self) -> tuple[StopReason, str]:
        error = self._error or {}
        code = str(error.get("code"))
        detail = f"{code}: {error.get('detail')}"[:_DETAIL_CHARACTERS]
        if code == "MaxIterationsReached":
            return StopReason.TURN_CAP, f"{self._spec.turns} model calls used up"
        if code == "LLMContextWindowExceedError":
            return StopReason.TOKEN_CAP, "the conversation does not fit into the model's context"
        if code in _ENDPOINT_ERRORS:
            return StopReason.INFRASTRUCTURE, detail
        return StopReason.AGENT_ERROR, detail
