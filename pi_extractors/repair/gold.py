"""The edit that the gold patch makes, as PI of a repair instance."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.records import Instance
from harness.records.repair.functions import (
    EditableFunction,
    RepairSourceError,
    editable_functions,
    find_edit,
)
from harness.records.repair.statement import Statement, StatementError, read_statement
from harness.records.repair.text import name_choices, oracle_text
from pi_extractors.base import EditLog, ExtractionError, Snapshot
from pi_extractors.budget import Fitted
from pi_extractors.diffs import apply_to, new_path, old_path, parse_diff
from pi_extractors.records import PIRecord, SourceName
from pi_extractors.source import BudgetedSource, digest


@dataclass(frozen=True)
class GoldEdit:
    """What mends a file: a function, the number of a place in it, and what belongs there."""

    function: EditableFunction
    number: int
    text: str


def gold_edit(
    patch: str, path: str, source: str, functions: Iterable[EditableFunction]
) -> GoldEdit:
    """The edit of one of a file's functions that does what a gold patch does, and nothing else.

    Raises ExtractionError when there is none.
    """
    files = parse_diff(patch, "the gold patch")
    if len(files) != 1 or {old_path(files[0]), new_path(files[0])} != {path}:
        raise ExtractionError(f"the gold patch changes not {path} alone")
    fixed = apply_to(source.encode(), files[0]).decode(errors="replace")
    for function in functions:
        if found := find_edit(function, source, fixed):
            return GoldEdit(function, *found)
    raise ExtractionError(f"the gold patch is no edit of a function in {path} that is offered")


def choice_words(item: Instance, functions: Sequence[str]) -> dict[str, str]:
    """The words by which a state names each function. Raises ExtractionError for equal ones."""
    try:
        return dict(zip(functions, map(str.strip, name_choices(functions)), strict=True))
    except ValueError as error:
        raise ExtractionError(f"{item.instance_id}: {error}") from None


def repair_statement(item: Instance) -> Statement:
    """What a repair instance's statement says. Raises ExtractionError for another statement."""
    try:
        return read_statement(item.problem_statement)
    except StatementError as error:
        raise ExtractionError(f"{item.instance_id}: no repair instance: {error}") from None


class RepairGoldSource(BudgetedSource):
    """The gold patch as function, place and text; the tokens of a state's own choices."""

    name = SourceName.GOLD_PATCH
    extractor = "repair_gold_patch/1"

    def inputs(
        self, item: Instance, snapshot: Snapshot | None = None, edits: EditLog = (), step: int = 0
    ) -> dict[str, str]:
        """Digests of what the text is made from."""
        return {
            "patch": digest(item.patch),
            "statement": digest(item.problem_statement),
            "snapshot": snapshot.identity if snapshot else "",
        }

    def extract(
        self,
        item: Instance,
        snapshot: Snapshot | None = None,
        edits: EditLog = (),
        *,
        step: int = 0,
    ) -> PIRecord:
        """The edit. Raises ExtractionError without a snapshot, for what is no repair instance, and
        for a gold patch that is no edit of the offered functions."""
        if snapshot is None:
            raise ExtractionError(f"{item.instance_id}: the repair view reads the repository")
        said = repair_statement(item)
        try:
            source = snapshot.read(said.path).decode()
            found = editable_functions(source, said.functions)
            gold = gold_edit(item.patch, said.path, source, found.values())
        except (ExtractionError, UnicodeDecodeError, RepairSourceError) as error:
            raise ExtractionError(f"{item.instance_id}: {said.path}: {error}") from None
        name = choice_words(item, said.functions)[gold.function.name]
        text = oracle_text(name, gold.number, gold.text)
        fitted = Fitted(text, self.counter.count(text))
        return self.make(item.instance_id, fitted, self.inputs(item, snapshot))
