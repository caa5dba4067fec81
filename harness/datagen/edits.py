"""The edit log of a trajectory: which files of the repository the agent had changed by a step."""

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.datagen.edits_shell import Kind, Operation, Shell
from harness.records import Event
from harness.sandboxes.base import WORKDIR
from pi_extractors.base import Edit, EditLog

SHELL_TOOLS = frozenset({"terminal", "execute_bash", "bash"})
EDITOR_TOOLS = frozenset({"file_editor", "str_replace_editor"})
_TOOL = re.compile(r"(?P<tool>terminal|execute_bash|bash|file_editor|str_replace_editor|grep|glob"
                   r"|task_tracker|finish|think)(?:: |:$)(?P<rest>.*)", re.S)  # fmt: skip
_EDITOR = re.compile(
    r"(?P<command>create|str_replace|insert|undo_edit) (?P<path>/.*?)"
    r"(?= (?:\n\[|old_str=|new_str=|file_text=|insert_line=|security_risk=)|\Z|\n)",
    re.S,
)


def edit_log(events: Iterable[Event], *, step: int | None = None, root: str = WORKDIR) -> EditLog:
    """The edits that are in effect after so many model calls (None: at the end), by their order.

    A file is edited by the editor tools of OpenHands or by a shell command: redirections,
    here-documents, `tee`, `sed -i`, `perl -i`, `cp`, `mv`, `rm`, `git apply`, `patch`, `git rm`,
    `git mv`, and Python programs that name what they write. What was reverted (`undo_edit`,
    `git checkout`, `restore`, `stash`, `reset --hard`) is left out, and so is what failed. Events
    are the agent's own account, and a program that computes a file's name is not understood.
    """
    replay = EditReplay(events, root)
    replay.advance(None if step is None else step + 1)
    return replay.edits


def failed(observation: Event) -> bool:
    """Whether an action's observation says that it came to nothing.

    A shell command counts as failed only when it was an editor's refusal: a command with an exit
    code other than 0 may have written before.
    """
    data = observation.data
    return bool(data.get("error") or data.get("is_error")) or (
        data.get("tool") in EDITOR_TOOLS and observation.text.startswith("ERROR")
    )


@dataclass
class Shells:
    """The shells of an attempt: OpenHands' terminal keeps its folder, other commands start anew."""

    root: str = WORKDIR
    _terminal: Shell | None = None
    _files: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, *, persistent: bool) -> list[Operation]:
        """The edits of a command."""
        if not persistent:
            return Shell(self.root, self._files).run(command)
        self._terminal = self._terminal or Shell(self.root, self._files)
        return self._terminal.run(command)


def tool_operations(name: str, arguments: Mapping[str, Any], shells: Shells) -> list[Operation]:
    """The edits of a tool call; none for a tool that edits nothing."""
    given = {key: value for key, value in arguments.items() if isinstance(value, str)}
    if name in SHELL_TOOLS:
        return shells.run(given.get("command", ""), persistent=name != "bash")
    path = given.get("path", "")
    if name not in EDITOR_TOOLS or not path:
        return []
    path = posixpath.normpath(posixpath.join(shells.root, path))
    match given.get("command"):
        case "create":
            return [Operation(Kind.WRITE, path, new=given.get("file_text", ""))]
        case "str_replace":
            old, new = given.get("old_str", ""), given.get("new_str", "")
            return [Operation(Kind.REPLACE, path, old, new)]
        case "insert":
            return [Operation(Kind.INSERT, path, new=given.get("new_str", ""))]
        case "undo_edit":
            return [Operation(Kind.UNDO, path)]
    return []


class EditReplay:
    """Reads a trajectory forward: the edits in effect and the shells at each step."""

    def __init__(self, events: Iterable[Event], root: str = WORKDIR) -> None:
        self._events = list(events)
        self._next = 0
        self._waiting: list[tuple[int, list[Operation]]] = []
        self._edits: list[Edit] = []
        self.shells = Shells(root)

    @property
    def edits(self) -> EditLog:
        """The edits in effect, in order."""
        return tuple(self._edits)

    def advance(self, step: int | None) -> None:
        """Read on up to the first event of a step; None: to the end."""
        while self._next < len(self._events):
            event = self._events[self._next]
            if step is not None and event.step >= step:
                return
            self._next += 1
            if event.kind == "action":
                self._waiting.append((event.step, _of_event(event.text, self.shells)))
            elif event.kind == "observation" and self._waiting:
                place, operations = self._waiting.pop(0)
                if not failed(event):
                    self._apply(place, operations)
        for place, operations in self._waiting:  # the attempt ended before they did
            self._apply(place, operations)
        self._waiting.clear()

    def _apply(self, step: int, operations: Iterable[Operation]) -> None:
        for operation in operations:
            path = repository_path(operation.path, self.shells.root) if operation.path else ""
            if path is None:
                continue
            if operation.kind is Kind.REVERT:
                self._edits = [one for one in self._edits if path and not _within(one.path, path)]
            elif operation.kind is Kind.UNDO:
                last = max((n for n, one in enumerate(self._edits) if one.path == path), default=-1)
                if last >= 0:
                    del self._edits[last]
            elif path:
                self._edits.append(Edit(step=step, path=path))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def repository_path(path: str, root: str = WORKDIR) -> str | None:
    """A path relative to the repository; None for one outside or in git's own data."""
    if not path.startswith(f"{root}/"):
        return None
    inside = path.removeprefix(f"{root}/")
    return None if inside.split("/")[0] == ".git" else inside


def _of_event(text: str, shells: Shells) -> list[Operation]:
    """The edits of an action as `events.jsonl` shows it."""
    found = _TOOL.fullmatch(text)
    if found is None:
        return shells.run(text, persistent=False)
    if found["tool"] in SHELL_TOOLS:
        return shells.run(found["rest"], persistent=True)
    edit = _EDITOR.match(found["rest"]) if found["tool"] in EDITOR_TOOLS else None
    if edit is None:
        return []
    return tool_operations(found["tool"], edit.groupdict(), shells)
