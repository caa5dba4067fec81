"""The problem statement of a repair instance: a failing test's report, and where the cause may be.

    TypeError: unsupported operand type(s) for +: 'int' and 'str'
    Seen when calling `loads`, `sign`.
    The cause is in one of these functions of `src/pkg/mod.py`: `dump`, `Box.load`, `sign`, `pad`.

The second line is left out where the test's body calls no function of the package.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

MAX_STATEMENT = 4000
MAX_FUNCTIONS = 8

_NAME = r"`[^`\n]{1,200}`"
_NAMES = rf"{_NAME}(?:, {_NAME})*"
_EXCEPTION = re.compile(r"(?P<type>[^\W\d][\w.]{0,199})(?::[ \t]*(?P<message>.*))?")
_CALLED = re.compile(rf"Seen when calling (?P<names>{_NAMES})\.")
_CAUSE = re.compile(
    r"The cause is in one of these functions of `(?P<path>[^`\n]{1,400})`: "
    rf"(?P<names>{_NAMES})\."
)
_QUALIFIED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


class StatementError(ValueError):
    """A problem statement that is none of the repair task's; the text says what is missing."""


@dataclass(frozen=True)
class Statement:
    """What a repair instance's problem statement says.

    exception: the type's name, without its module. message: the first line of what it said.
    called: functions of the package that the test's body calls. path: the file, relative to the
    repository. functions: qualified names in `path`, one of which is broken.
    """

    exception: str
    message: str
    called: tuple[str, ...]
    path: str
    functions: tuple[str, ...]

    def render(self) -> str:
        """The problem statement. Raises StatementError when it could not be read back."""
        message = " ".join(self.message.split())
        lines = [f"{self.exception}: {message}" if message else self.exception]
        if self.called:
            lines.append(f"Seen when calling {_listed(self.called)}.")
        lines.append(
            f"The cause is in one of these functions of `{self.path}`: {_listed(self.functions)}."
        )
        text = "\n".join(lines) + "\n"
        read = read_statement(text)
        expected = (message, self.called, self.path, self.functions)
        if (read.message, read.called, read.path, read.functions) != expected:
            raise StatementError(f"the statement cannot be read back: {text!r:.400}")
        return text


def read_statement(text: str) -> Statement:
    """The parts of a problem statement. Raises StatementError."""
    if len(text) > MAX_STATEMENT:
        raise StatementError(
            f"{len(text):,} characters; a repair statement has at most {MAX_STATEMENT:,}"
        )
    lines = [line.strip() for line in text.strip().split("\n")]
    report = _EXCEPTION.fullmatch(lines[0])
    cause = _CAUSE.fullmatch(lines[-1])
    if cause is None:
        raise StatementError(
            "the last line is not `The cause is in one of these functions of <file>: ...`, "
            f"but {lines[-1]!r:.200}"
        )
    if report is None or len(lines) not in (2, 3):
        raise StatementError(f"the first line names no exception type: {lines[0]!r:.200}")
    called: tuple[str, ...] = ()
    if len(lines) == 3:
        seen = _CALLED.fullmatch(lines[1])
        if seen is None:
            raise StatementError(f"the second line is not `Seen when calling`: {lines[1]!r:.200}")
        called = _unlisted(seen["names"])
    functions = _unlisted(cause["names"])
    wrong = [name for name in (*called, *functions) if not _QUALIFIED.fullmatch(name)]
    if wrong:
        raise StatementError(f"{wrong[0]!r:.200} is no function's name")
    if not 2 <= len(functions) <= MAX_FUNCTIONS or len(set(functions)) != len(functions):
        raise StatementError(f"it names {len(functions)} functions; 2 to {MAX_FUNCTIONS} distinct")
    return Statement(
        exception=report["type"].rpartition(".")[2],
        message=report["message"] or "",
        called=called,
        path=_checked_path(cause["path"]),
        functions=functions,
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _unlisted(names: str) -> tuple[str, ...]:
    return tuple(name.strip("`") for name in names.split(", "))


def _checked_path(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not path.isprintable():
        raise StatementError(f"{path!r:.200} is no path inside of the repository")
    return path
