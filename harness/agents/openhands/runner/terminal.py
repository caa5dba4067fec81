"""The terminal's output, whole and as text. Import only inside `settings.importing`."""

import re

from openhands.tools.terminal import definition
from openhands.tools.terminal.constants import CMD_OUTPUT_PS1_END
from openhands.tools.terminal.terminal.subprocess_terminal import SubprocessTerminal

_SHELL_SECONDS = 60.0  # for the image's start-up files
_STARTED = re.compile(rf"shell started: 42\s.*{CMD_OUTPUT_PS1_END.strip()}", re.DOTALL)

# Control sequences, control strings, and escapes of two or three bytes. Source: ECMA-48.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
)


def mend_terminal(most_characters: int | None) -> None:
    """Let terminals without tmux give each command's own output, without escape codes.

    To the SDK a command is done when the screen has changed and ends with another prompt. On a
    busy machine that may be a prompt of before: of the shell's start, or one that it asked for
    because carriage returns kept it from seeing the last. `most_characters`: what the model sees
    of one output at most, instead of the SDK's own limit.
    """
    initialize = SubprocessTerminal.initialize
    add_text = SubprocessTerminal._add_text_to_buffer
    read_screen = SubprocessTerminal.read_screen

    def initialize_and_wait(self: SubprocessTerminal) -> None:
        if self._initialized:
            return
        initialize(self)
        self._write_pty(b"echo shell started: $((6 * 7))\n")
        self._wait_for_output(_STARTED, _SHELL_SECONDS)
        self.clear_screen()

    def add_lines(self: SubprocessTerminal, text: str) -> None:
        add_text(self, text.replace("\r", ""))

    def read_text(self: SubprocessTerminal) -> str:
        return _ESCAPES.sub("", read_screen(self)).rstrip()  # a prompt's line end may come late

    SubprocessTerminal.initialize = initialize_and_wait
    SubprocessTerminal._add_text_to_buffer = add_lines
    SubprocessTerminal.read_screen = read_text
    if most_characters is not None:
        definition.MAX_CMD_OUTPUT_SIZE = most_characters
