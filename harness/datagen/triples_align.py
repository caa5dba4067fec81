"""Expert targets: which calls of an agent do what the gold patch does, and what they should say."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.datagen.edits import repository_path
from harness.datagen.edits_shell import Kind, Operation
from harness.datagen.triples_actions import Answer
from harness.datagen.triples_gold import (
    Changed,
    GoldFile,
    GoldHunk,
    changed_lines,
    closest,
    diff_change,
    likeness,
    text_change,
)

LITERAL_SHARE = 0.5
MIN_SIMILARITY = 0.8


class Alignment(StrEnum):
    """How a call meets the gold patch. Each value's sentence defines it."""

    EXACT = "exact"  # it makes exactly the gold hunks that lie in the text it replaces
    REGION = "region"  # it replaces text in which gold hunks lie, by something else
    CONTENT = "content"  # its changed lines are like those of gold hunks
    LITERAL = "literal"  # a program whose text has the lines that gold hunks add


class Miss(StrEnum):
    """Why a call is no expert target."""

    OUTSIDE_GOLD = "outside_gold"  # it edits no file of the gold patch
    NO_OVERLAP = "no_overlap"  # a gold file, but no line in common with a hunk
    BELOW_SIMILARITY = "below_similarity"  # lines in common, but too few


@dataclass(frozen=True)
class Target:
    """An expert action: the answer in which call `call` is the action, and how it was found.

    `similarity` is of what the agent emitted: its `likeness` to the hunks, or for `literal` the
    share of their added lines that the program's text has.
    """

    answer: Answer
    call: int
    rewritten: bool
    alignment: Alignment
    similarity: float
    path: str
    hunks: tuple[int, ...]


def align(
    answer: Answer,
    call: int,
    operations: Sequence[Operation],
    gold: Sequence[GoldFile],
    *,
    min_similarity: float = MIN_SIMILARITY,
) -> Target | Miss:
    """Compare the edits of one call with the gold patch.

    A `str_replace` whose old text has gold hunks in it is an expert target: as emitted when it
    makes them, else rewritten so that its new text does. A `create` of a file that the gold patch
    creates is one too. Any other edit is one as it was emitted, when it is similar enough.
    """
    touched = list(_touched(operations, gold))
    if not touched:
        return Miss.OUTSIDE_GOLD
    first = touched[0][1]
    if len(operations) == 1 and (found := _by_place(answer, call, operations[0], first)):
        return found
    emitted = sum((_change(one) for one in _distinct(operations)), Counter())
    similarity, hunks = closest(emitted, dict.fromkeys(file for _, file in touched))
    kind = Alignment.CONTENT
    if similarity < min_similarity:
        literal, also = _literal(touched)
        if literal > similarity:
            similarity, hunks, kind = literal, also, Alignment.LITERAL
    if not hunks:
        return Miss.NO_OVERLAP
    if similarity < min_similarity:
        return Miss.BELOW_SIMILARITY
    if kind is Alignment.CONTENT and similarity == 1.0:
        kind = Alignment.EXACT
    numbers = tuple(sorted({hunk.number for hunk in hunks}))
    return Target(answer, call, False, kind, similarity, first.path, numbers)


def _by_place(answer: Answer, call: int, operation: Operation, file: GoldFile) -> Target | None:
    """A target found by where the edit is; None when that says nothing."""
    if operation.kind is Kind.REPLACE:
        expected, made = file.applied_to(operation.old)
        argument, emitted = "new_str", operation.new
        if not made:
            return None
        similarity = likeness(_change(operation, file.path), file.changed(made))
    elif operation.kind is Kind.WRITE and file.old is None:
        expected, made, argument = file.content(), list(file.hunks), "file_text"
        emitted = operation.new
        similarity = likeness(text_change(file.path, "", emitted), file.changed())
    else:
        return None
    hunks = tuple(hunk.number for hunk in made)
    if _stripped(emitted) == _stripped(expected):
        return Target(answer, call, False, Alignment.EXACT, 1.0, file.path, hunks)
    rewritten = None if operation.texts else answer.replaced(call, argument, expected)
    if rewritten is None:
        return None
    return Target(rewritten, call, True, Alignment.REGION, similarity, file.path, hunks)


def _touched(
    operations: Sequence[Operation], gold: Sequence[GoldFile]
) -> Iterator[tuple[Operation, GoldFile]]:
    for operation in operations:
        path = repository_path(operation.path)
        if operation.kind in (Kind.UNDO, Kind.REVERT) or path is None:
            continue
        for file in gold:
            if path in (file.old, file.new):
                yield operation, file


def _distinct(operations: Sequence[Operation]) -> Iterator[Operation]:
    """One operation of each diff: it says for all files what is changed."""
    diffs: set[str] = set()
    for operation in operations:
        if operation.kind is not Kind.PATCH:
            yield operation
        elif operation.new not in diffs:
            diffs.add(operation.new)
            yield operation


def _change(operation: Operation, path: str | None = None) -> Changed:
    path = path or repository_path(operation.path) or operation.path
    match operation.kind:
        case Kind.REPLACE:
            return text_change(path, operation.old, operation.new)
        case Kind.INSERT | Kind.WRITE:
            return changed_lines(path, (("+", line) for line in operation.new.split("\n")))
        case Kind.PATCH:
            return diff_change(operation.new)
    return Counter()


def _literal(touched: Sequence[tuple[Operation, GoldFile]]) -> tuple[float, list[GoldHunk]]:
    """The share of added lines that programs' texts have, and the hunks of which they have half."""
    found = total = 0
    hunks = []
    for file in dict.fromkeys(file for _, file in touched):
        texts: list[str] = []
        for operation, other in touched:
            if other == file:
                whole = operation.kind is Kind.WRITE
                texts += (operation.new,) if whole else operation.texts
        lines = {line.strip() for text in texts for line in text.split("\n")}
        for hunk in file.hunks:
            added = [line.strip() for line in hunk.added if line.strip()]
            had = sum(line in lines for line in added)
            if added and had >= LITERAL_SHARE * len(added):
                hunks.append(hunk)
                found += had
                total += len(added)
    return (found / total if total else 0.0), hunks


def _stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]
