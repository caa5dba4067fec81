"""A conversation held by our runner, one process in the sandbox."""

import io
import json
import zipapp
from contextlib import suppress
from functools import cache
from pathlib import Path

from harness.agents.base import GATEWAY_SOCKET
from harness.agents.openhands.lines import Reader
from harness.agents.openhands.recorder import Recorder
from harness.agents.openhands.spec import REFUSALS, Ending, Spec
from harness.environments.toolchain import PYTHON
from harness.records import StopReason, Usage
from harness.sandboxes.base import MIB, WORKDIR, ExecResult, Sandbox, SandboxFailure

FOLDER = "/tmp/harness-openhands"  # noqa: S108
GRACE_SECONDS = 5.0
LOG_BYTES = 4 * MIB

_RUNNER = f"{FOLDER}/runner.pyz"
_LOG = f"{FOLDER}/runner.log"
_OUTSIDE_SECONDS = 10.0  # for a runner that cannot keep its own limits


def converse(sandbox: Sandbox, spec: Spec, recorder: Recorder, logs: Path) -> Ending:
    """Hold the conversation. Raises SandboxFailure when it cannot begin."""
    try:
        sandbox.write(_RUNNER, runner())
    except OSError as error:
        raise SandboxFailure(f"the runner cannot be put into the sandbox: {error}") from error
    said = {
        **spec.model_dump(mode="json"),
        "folder": FOLDER,
        "socket": GATEWAY_SOCKET,
        "grace_seconds": GRACE_SECONDS,
        "refusals": REFUSALS,
    }
    limit = spec.startup_seconds + spec.wall_clock_seconds + GRACE_SECONDS + _OUTSIDE_SECONDS
    with (logs / "runner.log").open("wb") as log:
        reader = Reader(recorder, log)
        result = sandbox.exec(
            [PYTHON, _RUNNER],
            timeout=limit,
            cwd=WORKDIR,
            stdin=json.dumps(said).encode(),
            on_output=reader.feed,  # its True ends whatever the agent left running
        )
        reader.feed(b"\n")  # a last line may be without
        with suppress(OSError, ValueError):
            log.write(sandbox.read(_LOG, limit=LOG_BYTES))
    if reader.end is not None:
        return reader.end.ending(spec.turns)
    if not reader.ready:
        raise SandboxFailure(f"OpenHands does not start: {_how(result)} {_tail(logs)}".strip())
    usage = Usage(turns=recorder.turns)
    if result.timed_out:
        detail = "the runner did not end by itself"
        return Ending(reason=StopReason.WALL_CLOCK, detail=detail, usage=usage)
    detail = f"the runner was ended: {_how(result)}"
    return Ending(reason=StopReason.AGENT_ERROR, detail=detail, usage=usage)


@cache
def runner() -> bytes:
    """The runner as a zip application."""
    packed = io.BytesIO()
    zipapp.create_archive(
        Path(__file__).parent,
        packed,
        main="runner.main:main",
        filter=lambda path: path.parts[0] == "runner" and path.suffix == ".py",
    )
    return packed.getvalue()


def _how(result: ExecResult) -> str:
    return "out of time." if result.timed_out else f"exit code {result.exit_code}."


def _tail(logs: Path) -> str:
    text = (logs / "runner.log").read_bytes()[-2000:].decode(errors="replace").strip()
    return text.splitlines()[-1] if text else ""
