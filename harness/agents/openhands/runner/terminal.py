"""The terminal's output as text. Import only inside `settings.importing`."""

import re

from openhands.tools.terminal import definition
from openhands.tools.terminal.terminal.subprocess_terminal import SubprocessTerminal

# Control sequences, control strings, and escapes of two or three bytes. Source: ECMA-48.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
)


def show_text(most_characters: int | None) -> None:
    """Let terminals give what a screen would show, without the bytes that colour it.

    `most_characters`: what the model sees of one output at most, instead of OpenHands' own limit.
    """
    read = SubprocessTerminal.read_screen
    SubprocessTerminal.read_screen = lambda self: _ESCAPES.sub("", read(self))
    if most_characters is not None:
        definition.MAX_CMD_OUTPUT_SIZE = most_characters
