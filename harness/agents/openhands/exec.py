"""A conversation held by our runner, one process in the sandbox."""

import io
import json
import zipapp
from contextlib import suppress
from functools import cache
from pathlib import Path

from pydantic import Field, ValidationError

from harness.agents.base import GATEWAY_SOCKET
from harness.agents.openhands.recorder import Recorder
from harness.agents.openhands.spec import REFUSALS, Ending, Spec
from harness.environments.toolchain import PYTHON
from harness.records import Record, StopReason, Usage
from harness.sandboxes.base import MIB, WORKDIR, ExecResult, Sandbox, SandboxFailure

FOLDER = "/tmp/harness-openhands"  # noqa: S108
GRACE_SECONDS = 5.0
LINE_BYTES = 16 * MIB
LOG_BYTES = 4 * MIB
INPUTRC = f"{FOLDER}/inputrc"

_RUNNER = f"{FOLDER}/runner.pyz"
_LOG = f"{FOLDER}/runner.log"
_OUTSIDE_SECONDS = 10.0  # for a runner that cannot keep its own limits


class _End(Record):
    """The runner's last line."""

    reason: StopReason
    detail: str = Field(max_length=10_000)
    turns: int = Field(ge=0)
    tool_calls: int = Field(ge=0)
    prompt_tokens: int = Field(ge=0)
    generated_tokens: int = Field(ge=0)
    cpu_seconds: float = Field(ge=0)
    memory_bytes: int = Field(ge=0)

    def ending(self, most_turns: int) -> Ending:
        """What it says, as far as it can be."""
        return Ending(
            reason=self.reason,
            detail=self.detail,
            usage=Usage(
                turns=min(self.turns, most_turns),
                tool_calls=self.tool_calls,
                prompt_tokens=self.prompt_tokens,
                generated_tokens=self.generated_tokens,
            ),
        )


class _Reader:
    """Takes the runner's lines as they arrive, complete or not, well formed or not."""

    def __init__(self, recorder: Recorder, stray: io.BufferedWriter) -> None:
        self._recorder = recorder
        self._stray = stray
        self._stray_room = LOG_BYTES
        self._partial = bytearray()
        self._skipping = False
        self.ready = False
        self.end: _End | None = None

    def feed(self, chunk: bytes) -> bool:
        """Take output; True once the conversation has ended."""
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            if self.end is None:
                self._complete(line)
        if not self._skipping:
            self._partial += rest
            if len(self._partial) > LINE_BYTES:
                self._recorder.note(f"a line of more than {LINE_BYTES:,} bytes is left out")
                self._partial.clear()
                self._skipping = True
        return self.end is not None

    def _complete(self, end_of_line: bytes) -> None:
        line = bytes(self._partial) + end_of_line
        self._partial.clear()
        if self._skipping:
            self._skipping = False
            return
        kind, _, rest = line.partition(b" ")
        turns, _, text = rest.partition(b" ")
        if kind == b"event" and turns.isdigit() and len(turns) < 10:
            self._recorder.event(text, int(turns))
        elif kind == b"ready":
            self._ready(text)
        elif kind == b"end":
            self._ended(text)
        elif self._stray_room > 0:
            self._stray_room -= len(line) + 1
            self._stray.write(line + b"\n")

    def _ready(self, text: bytes) -> None:
        self.ready = True
        with suppress(ValueError, RecursionError):
            facts = json.loads(text)
            self._recorder.note(f"OpenHands SDK {facts.pop('sdk')}", **facts)

    def _ended(self, text: bytes) -> None:
        try:
            self.end = _End.model_validate_json(text)
        except ValidationError as error:
            self._recorder.note(f"the runner's last line: {error}")


def converse(sandbox: Sandbox, spec: Spec, recorder: Recorder, logs: Path) -> Ending:
    """Hold the conversation. Raises SandboxFailure when it cannot begin."""
    try:
        sandbox.write(_RUNNER, runner())
        sandbox.write(INPUTRC, b"set enable-bracketed-paste off\n")
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
        reader = _Reader(recorder, log)
        result = sandbox.exec(
            [PYTHON, _RUNNER],
            timeout=limit,
            cwd=WORKDIR,
            stdin=json.dumps(said).encode(),
            on_output=reader.feed,  # its True ends whatever the agent left running
        )
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
