"""The events of a conversation on a server: live, each once, in the log's order."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from harness.agents.openhands.server_api import RemoteEvent
from harness.agents.openhands.server_client import ConnectionLostError, ServerClient, ServerError

EVENTS = 50_000

# Not part of the log as the SDK keeps it in one process.
_PASSING = frozenset(
    {
        "ConversationStateUpdateEvent",
        "LLMCompletionLogEvent",
        "ServerErrorEvent",
        "StreamingDeltaEvent",
    }
)
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class EventFeed:
    """Delivers events as a live connection brings them, and fetches what it did not bring.

    An event names the one before it, so that one that is missing is noticed with the next. What is
    missing is read from the log, from the last event on: after a connection broke, too.
    """

    def __init__(
        self, client: ServerClient, conversation_id: UUID, deliver: Callable[[RemoteEvent], None]
    ) -> None:
        self._client = client
        self._id = conversation_id
        self._deliver = deliver
        self._last: str | None = None
        self._seen: set[str] = set()
        self._one_at_a_time = asyncio.Lock()
        self.changed = asyncio.Event()  # set when the conversation's state may have changed

    async def follow(self) -> None:
        """Deliver until cancelled, over as many connections as it takes. Raises ServerError."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._client.live(self._id) as events:
                    async for event in events:
                        await self._hear(event)
                        pause = _FIRST_PAUSE
            except ConnectionLostError:
                self.changed.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def catch_up(self) -> None:
        """Deliver what the log has and was not delivered. Raises ServerError."""
        async with self._one_at_a_time:
            await self._read_log()

    async def _hear(self, event: RemoteEvent) -> None:
        async with self._one_at_a_time:
            if event.kind in _PASSING:
                await self._note_state((event.model_extra or {}).get("key"))
            elif event.parent_id == self._last:
                self._take(event)
            elif event.id not in self._seen:
                await self._read_log()

    async def _note_state(self, key: object) -> None:
        if key == "full_state":  # subscribed, or a run has ended
            await self._read_log()
        if key in ("full_state", "execution_status"):
            self.changed.set()

    async def _read_log(self) -> None:
        async for event in self._client.events(self._id, self._last):
            if event.kind not in _PASSING:
                self._take(event)

    def _take(self, event: RemoteEvent) -> None:
        if event.id in self._seen:
            return
        if len(self._seen) == EVENTS:
            raise ServerError(f"the conversation has over {EVENTS:,} events")
        self._seen.add(event.id)
        self._last = event.id
        self._deliver(event)
