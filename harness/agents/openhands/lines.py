"""The runner's lines: `<kind> <turns> <JSON>`. Whatever is not one is kept apart."""

from typing import Annotated, BinaryIO

from pydantic import Field, ValidationError

from harness.agents.openhands.recorder import Recorder
from harness.agents.openhands.spec import Ending
from harness.records import Record, StopReason, Usage
from harness.sandboxes.base import MIB

LINE_BYTES = 16 * MIB
STRAY_BYTES = 4 * MIB

_TURN_DIGITS = 6
_Seconds = Annotated[float, Field(allow_inf_nan=False)]


class Ready(Record):
    """The runner's first line: it has begun, and the wall clock with it."""

    sdk: str = Field(max_length=100)
    python: str = Field(max_length=100)
    import_seconds: _Seconds
    startup_seconds: _Seconds
    cpu_seconds: _Seconds
    memory_bytes: int


class End(Record):
    """The runner's last line."""

    reason: StopReason
    detail: str = Field(max_length=10_000)
    turns: int = Field(ge=0)
    tool_calls: int = Field(ge=0)
    prompt_tokens: int = Field(ge=0)
    generated_tokens: int = Field(ge=0)
    cpu_seconds: _Seconds
    memory_bytes: int

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
            figures={"cpu_seconds": self.cpu_seconds, "memory_bytes": self.memory_bytes},
        )


class Reader:
    """Takes the runner's lines as they arrive, complete or not, well formed or not."""

    def __init__(self, recorder: Recorder, stray: BinaryIO) -> None:
        self._recorder = recorder
        self._stray = stray
        self._stray_room = STRAY_BYTES
        self._partial = bytearray()
        self._skipping = False
        self.ready = False
        self.end: End | None = None

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
        if kind == b"event" and turns.isdigit() and len(turns) <= _TURN_DIGITS:
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
        try:
            ready = Ready.model_validate_json(text)
        except ValidationError as error:
            self._recorder.note(f"the runner's first line: {error}")
        else:
            figures = ready.model_dump(exclude={"sdk"})
            self._recorder.note(f"OpenHands SDK {ready.sdk}", **figures)

    def _ended(self, text: bytes) -> None:
        try:
            self.end = End.model_validate_json(text)
        except ValidationError as error:
            self._recorder.note(f"the runner's last line: {error}")
