"""A repair instance as the agent meets it: what the statement says, and the file's functions."""

from collections.abc import Callable
from dataclasses import dataclass

from harness.records.repair.functions import (
    EditableFunction,
    RepairSourceError,
    editable_functions,
)
from harness.records.repair.places import edited
from harness.records.repair.statement import Statement, StatementError, read_statement
from harness.records.repair.text import (
    first_state,
    name_choices,
    place_choice,
)
from pi_extractors.base import ExtractionError
from pi_extractors.repair.gold import GoldEdit, gold_edit

_MOST_BYTES = 4_000_000


class RepairTaskError(ValueError):
    """An instance that is none of the repair task's; the text says why."""


@dataclass(frozen=True)
class RepairTask:
    """The choices of an attempt. functions: in the statement's order; names: their choices."""

    statement: Statement
    source: str
    functions: tuple[EditableFunction, ...]
    names: tuple[str, ...]

    @property
    def first_state(self) -> str:
        """What the model sees first; it chooses one of `names`."""
        said = self.statement
        return first_state(said.exception, said.message, said.called, said.functions)

    def named(self, choice: str) -> EditableFunction:
        """The function of one of `names`."""
        return self.functions[self.names.index(choice)]

    def edit(self, function: EditableFunction, choice: str) -> str:
        """The file's text with one of a function's edits made."""
        for number, place in enumerate(function.real):
            for text in place.choices:
                if place_choice(number, text) == choice:
                    return edited(self.source, place, text)
        raise ValueError(f"{choice!r} is no edit of {function.name}")

    def gold(self, patch: str) -> GoldEdit:
        """The edit that a gold patch makes. Raises RepairTaskError when it is none of this task."""
        try:
            return gold_edit(patch, self.statement.path, self.source, self.functions)
        except ExtractionError as error:
            raise RepairTaskError(str(error)) from None


def read_task(problem_statement: str, read: Callable[[str, int], bytes]) -> RepairTask:
    """The task of a problem statement. `read` gives a file of the repository by its path, raising
    OSError or ValueError when there is none of at most so many bytes.

    Raises RepairTaskError, and what else `read` does.
    """
    try:
        statement = read_statement(problem_statement)
    except StatementError as error:
        raise RepairTaskError(
            f"the problem statement is none of the repair task's, so this agent cannot work on it: "
            f"{error}"
        ) from None
    path = statement.path
    try:
        source = read(path, _MOST_BYTES).decode()
        found = editable_functions(source, statement.functions)
    except (OSError, UnicodeDecodeError, RepairSourceError, ValueError) as error:
        raise RepairTaskError(f"{path}: {type(error).__name__}: {error!s:.300}") from None
    missing = [name for name in statement.functions if name not in found]
    if missing:
        raise RepairTaskError(
            f"{path}: it has no function {missing[0]} with places that can be edited, once"
        )
    try:
        names = name_choices(statement.functions)
    except ValueError as error:
        raise RepairTaskError(str(error)) from None
    functions = tuple(found[name] for name in statement.functions)
    return RepairTask(statement, source, functions, names)
