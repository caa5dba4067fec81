"""A conversation held by the agent-server in the sandbox, driven from here.

The server is a process of its own for each attempt, without a port: the sandbox connects to a
socket beside the gateway's, and that connection is used in the other direction.
"""

import asyncio
import io
import json
import secrets
import zipfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from harness.agents.base import GATEWAY_FOLDER, GATEWAY_SOCKET
from harness.agents.openhands.exec import FOLDER, GRACE_SECONDS, LOG_BYTES
from harness.agents.openhands.recorder import Recorder
from harness.agents.openhands.server_client import ServerClient
from harness.agents.openhands.server_conversation import ServerConversation
from harness.agents.openhands.server_tunnel import Tunnel
from harness.agents.openhands.spec import REFUSALS, Ending, Spec
from harness.environments.toolchain import PYTHON
from harness.records import StopReason, Usage
from harness.sandboxes.base import WORKDIR, ExecResult, Sandbox, SandboxFailure

SOCKET = "agent.sock"

_LAUNCHER = f"{FOLDER}/server.pyz"
_LOG = f"{FOLDER}/server.log"
_RUNNER = ("__init__.py", "output.py", "settings.py", "terminal.py", "wire.py")
_PACKED = ("server_launcher.py", *(f"runner/{name}" for name in _RUNNER))
_MAIN = "from openhands_server.server_launcher import main\n\nmain()\n"
_OUTSIDE_SECONDS = 20.0  # for a server that does not end by itself


class _Refusal(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    message: str = Field(max_length=10_000)


class _Calls(BaseModel):
    """What the launcher says after each model call."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt_tokens: int = Field(0, ge=0)
    generated_tokens: int = Field(0, ge=0)
    cpu_seconds: float = Field(0.0, allow_inf_nan=False)
    memory_bytes: int = 0
    refusal: _Refusal | None = None


def converse(
    sandbox: Sandbox, spec: Spec, recorder: Recorder, logs: Path, *, socket_folder: Path
) -> Ending:
    """Hold the conversation. Raises SandboxFailure when it cannot begin.

    `socket_folder` is what the sandbox sees as `GATEWAY_FOLDER`. When this returns nothing that it
    started runs any more.
    """
    try:
        sandbox.write(_LAUNCHER, launcher())
    except OSError as error:
        raise SandboxFailure(f"the launcher cannot be put into the sandbox: {error}") from error
    conversation = ServerConversation(spec, recorder)
    try:
        result = asyncio.run(_hold(sandbox, spec, conversation, socket_folder))
    except OSError as error:
        raise SandboxFailure(f"{socket_folder / SOCKET}: no socket there: {error}") from error
    with (logs / "server.log").open("wb") as log:
        log.write(result.output[:LOG_BYTES])
        with suppress(OSError, ValueError):
            log.write(sandbox.read(_LOG, limit=LOG_BYTES))
    if not conversation.began:
        raise SandboxFailure(
            f"{conversation.failure or 'no agent-server came up'}: {_exit(result)}, "
            f"see {logs / 'server.log'}"
        )
    return _ending(conversation, result)


def launcher() -> bytes:
    """The program that runs in the sandbox, as a zip application."""
    here = files("harness.agents.openhands")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("__main__.py", _MAIN)
        archive.writestr("openhands_server/__init__.py", b"")
        for name in _PACKED:
            archive.writestr(f"openhands_server/{name}", (here / name).read_bytes())
    return packed.getvalue()


async def _hold(
    sandbox: Sandbox, spec: Spec, conversation: ServerConversation, socket_folder: Path
) -> ExecResult:
    """Drive the conversation while the server runs; how the server ended."""
    key = SecretStr(secrets.token_hex(32))
    async with Tunnel(socket_folder / SOCKET, key) as tunnel:
        server = asyncio.create_task(asyncio.to_thread(_serve, sandbox, spec, key))
        async with ServerClient(tunnel.outside, key) as client:
            held = asyncio.create_task(conversation.hold(client))
            await asyncio.wait({server, held}, return_when=asyncio.FIRST_COMPLETED)
            held.cancel()
            await asyncio.wait({held})
    result = await server
    if not held.cancelled():
        held.result()
    return result


def _serve(sandbox: Sandbox, spec: Spec, key: SecretStr) -> ExecResult:
    """Run the server until it ends by itself: when the tunnel is closed."""
    settings = {
        "folder": FOLDER,
        "key": key.get_secret_value(),
        "gateway": GATEWAY_SOCKET,
        "output_characters": spec.output_characters,
        "harness": f"{GATEWAY_FOLDER}/{SOCKET}",
    }
    return sandbox.exec(
        [PYTHON, _LAUNCHER],
        timeout=spec.startup_seconds + spec.wall_clock_seconds + GRACE_SECONDS + _OUTSIDE_SECONDS,
        cwd=WORKDIR,
        stdin=json.dumps(settings).encode(),
    )


def _ending(conversation: ServerConversation, result: ExecResult) -> Ending:
    calls = _last_call(result)
    reason, detail = conversation.reason, conversation.detail
    if reason is StopReason.AGENT_ERROR and calls.refusal and calls.refusal.code in REFUSALS:
        reason, detail = REFUSALS[calls.refusal.code], calls.refusal.message
    elif reason is None:
        reason, detail = StopReason.AGENT_ERROR, conversation.failure or _exit(result)
    usage = Usage(
        turns=conversation.turns,
        tool_calls=conversation.tool_calls,
        prompt_tokens=calls.prompt_tokens,
        generated_tokens=calls.generated_tokens,
    )
    figures = {"cpu_seconds": calls.cpu_seconds, "memory_bytes": calls.memory_bytes}
    return Ending(reason=reason, detail=detail, usage=usage, figures=figures)


def _last_call(result: ExecResult) -> _Calls:
    for line in reversed(result.output.splitlines()):
        kind, _, rest = line.partition(b" ")
        if kind == b"call":
            with suppress(ValidationError):
                return _Calls.model_validate_json(rest.partition(b" ")[2])
    return _Calls()


def _exit(result: ExecResult) -> str:
    if result.timed_out:
        return f"the agent-server did not end within {result.seconds:.0f} s"
    return f"the agent-server ended with exit code {result.exit_code}"
