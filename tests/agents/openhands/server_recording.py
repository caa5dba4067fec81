"""Recordings of a real agent-server, and how they are made.

    python -m tests.agents.openhands.server_recording

writes `tests/fixtures/openhands/agent-server-<version>.json`: every request of a conversation
with a nudge in it, its answer, and what came live. Long texts that no test reads are cut.
"""

import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

from pydantic import BaseModel

from harness.agents.openhands import OpenHandsAgent, OpenHandsOptions, server, server_client
from harness.agents.openhands.server_api import RemoteEvent
from harness.agents.openhands.server_client import ServerClient
from harness.records import Budget
from harness.sandboxes.base import Limits
from tests.agents.openhands.gateway import FINISH, call, gateway, sh
from tests.agents.repository import make_repository

FOLDER = Path(__file__).parents[2] / "fixtures" / "openhands"
RECORDING = FOLDER / "agent-server-1.58.0.json"

_SCRIPT = (
    sh("cat a.py", "Look."),
    "I think that it is x.",
    call("file_editor", "Change.", command="create", path="/testbed/b.py", file_text="y\n"),
    FINISH,
)
_LONG = 400

_exchanges: list[dict[str, Any]] = []
_live: list[Any] = []


class Recorder(ServerClient):
    """A client that keeps what it sends and gets."""

    async def _request(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        data = await super()._request(method, path, body, query)
        exchange = {
            "method": method,
            "path": path,
            "query": dict(query or {}),
            "request": json.loads(body.model_dump_json()) if body else None,
            "answer": json.loads(data),
        }
        if not _exchanges or exchange["answer"] != _exchanges[-1]["answer"]:
            _exchanges.append(exchange)
        return data

    async def __aexit__(self, *ended: Any) -> None:
        """Before the server is gone, the whole log, in short pages."""
        conversation_id = UUID(_exchanges[1]["answer"]["id"])
        with mock.patch.object(server_client, "PAGE_EVENTS", 8):
            async for _ in self.events(conversation_id, None):
                pass
        await super().__aexit__(*ended)

    @asynccontextmanager
    async def live(self, conversation_id: UUID) -> AsyncIterator[AsyncIterator[RemoteEvent]]:
        async with super().live(conversation_id) as events:

            async def kept() -> AsyncIterator[RemoteEvent]:
                async for event in events:
                    _live.append(event.raw)
                    yield event

            yield kept()


def main() -> None:
    """Record one conversation."""
    agent = OpenHandsAgent(OpenHandsOptions(transport="server"))
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(server, "ServerClient", Recorder),
        gateway(*_SCRIPT) as served,
    ):
        repository = make_repository(Path(folder))
        with repository.provider.start(
            str(repository.image),
            limits=Limits(),
            owner="recording",
            binds=[*agent.binds("process"), served.bind],
        ) as sandbox:
            outcome = agent.run(
                repository.instance,
                sandbox=sandbox,
                endpoint=served.endpoint,
                budget=Budget(turns=6),
                seed=1,
                emit=print,
                logs=Path(folder),
            )
    print(outcome.stop_reason)
    FOLDER.mkdir(parents=True, exist_ok=True)
    version = _exchanges[0]["answer"]["version"]
    recording = _short({"exchanges": _exchanges, "live": _live})
    path = FOLDER / f"agent-server-{version}.json"
    path.write_text(json.dumps(recording, indent=1) + "\n")


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("kind") == "SystemPromptEvent":
            value = {**value, "tools": []}
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short(each) for each in value]
    if isinstance(value, str) and len(value) > _LONG:
        return f"{value[:_LONG]} [cut]"
    return value


if __name__ == "__main__":
    main()
