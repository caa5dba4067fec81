"""Runs in a sandbox, by the toolchain's interpreter: the agent-server, and its only ways out.

Nothing outside can connect into a sandbox, so the server is reached the other way round: a few
connections to the harness's socket are kept open, and the harness sends its requests over them.
The server ends when that socket is closed. The model is called over the gateway's socket.

Standard input: `{"folder", "key", "gateway", "harness", "output_characters"}`: a folder for the
server's own files, the session's key, the paths of the two sockets, and how much of a command's
output the model sees (null: OpenHands' own limit). Standard output: a line for each model call.
"""

import asyncio
import json
import os
import resource
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from .runner.output import Output
from .runner.settings import close_to_others, importing

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CONNECTIONS = 4
_LOCAL = "\0agent-server"  # a name that no other process can take over
_CHUNK = 65536


def main() -> None:
    """Serve until the harness closes its socket."""
    close_to_others()
    settings = json.load(sys.stdin)
    output = Output(f"{settings['folder']}/server.log")
    asyncio.run(_serve(settings, output))


async def _serve(settings: dict[str, Any], output: Output) -> None:
    began = time.monotonic()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(_LOCAL)
    with importing(settings["folder"]):
        os.environ.update(_environment(settings["folder"], settings["key"]))
        import uvicorn

        server = uvicorn.Server(
            uvicorn.Config(
                "openhands.agent_server.api:api",
                fd=listening.fileno(),
                ws="wsproto",
                log_level="warning",
            )
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.02)
            if serving.done():
                serving.result()
                os._exit(1)
        from .runner.terminal import mend_terminal

        mend_terminal(settings["output_characters"])
        _call_model_over(settings["gateway"], output)
    output.write(
        "ready",
        0,
        json.dumps(
            {
                "startup_seconds": round(time.monotonic() - began, 3),
                "cpu_seconds": round(time.process_time(), 3),
                "memory_bytes": _memory_bytes(),
            }
        ),
    )
    lent = [
        asyncio.create_task(_lend(settings["harness"], settings["key"])) for _ in range(CONNECTIONS)
    ]
    await asyncio.wait([serving, *lent], return_when=asyncio.FIRST_COMPLETED)
    os._exit(0)  # a command of the agent's may still hold a thread, and nothing is to be kept


def _call_model_over(gateway: str, output: Output) -> None:
    import httpx
    import litellm

    from .runner.wire import Wire

    wire = Wire(gateway)

    async def report(_: httpx.Response) -> None:
        line: dict[str, Any] = {
            "prompt_tokens": wire.prompt_tokens,
            "generated_tokens": wire.generated_tokens,
            "cpu_seconds": round(time.process_time(), 3),
            "memory_bytes": _memory_bytes(),
        }
        if wire.refusal:
            line["refusal"] = {"code": wire.refusal.code, "message": wire.refusal.message}
        output.write("call", wire.turns, json.dumps(line))

    hooks = wire.client.event_hooks
    wire.client.event_hooks = {**hooks, "response": [*hooks["response"], report]}
    litellm.aclient_session = wire.client


async def _lend(harness: str, key: str) -> None:
    """Serve what comes over one connection to the harness, then over another, while it listens."""
    while True:
        outside = await asyncio.open_unix_connection(harness)
        outside[1].write(key.encode())
        first = await outside[0].read(_CHUNK)
        if first:
            inside = await asyncio.open_unix_connection(_LOCAL)
            inside[1].write(first)
            await join(outside, inside)
        outside[1].close()


async def join(one: Streams, other: Streams) -> None:
    """Carry bytes between two connections, both ways, until both have ended."""
    try:
        await asyncio.gather(_carry(one[0], other[1]), _carry(other[0], one[1]))
    finally:
        one[1].close()
        other[1].close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()


def _memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _environment(folder: str, key: str) -> dict[str, str]:
    """Only the tools that a conversation asks for load, and files stay in the folder."""
    return {
        "OH_SESSION_API_KEYS_0": key,
        "OH_CONVERSATIONS_PATH": f"{folder}/conversations",
        "OH_BASH_EVENTS_DIR": f"{folder}/bash_events",
        "OH_WORKSPACE_PATH": f"{folder}/workspace",
        "OH_ENABLE_BROWSER": "false",
        "OH_ENABLE_VSCODE": "false",
        "OH_PRELOAD_TOOLS": "false",
    }
