"""Expert states of the repair agent's attempts: the choices that make the gold patch's edit."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from harness.datagen.edits import EditReplay
from harness.datagen.triples_actions import Answer, Call, read_answer
from harness.datagen.triples_align import Alignment, Miss, Target
from harness.datagen.triples_gold import GoldFile, text_change
from harness.datagen.triples_state import NOT_A_TURN, NOT_ANSWERED, NOT_CARRIED_OUT, ExpertState
from harness.records import Event, Record
from harness.records.repair.text import END

_KEY = "repair"


class _Chosen(Record):
    """A function: its file and its first and last line."""

    path: str
    lines: tuple[int, int]


class _Edited(Record):
    """A line of a file, before and after."""

    path: str
    line: int
    old: str
    new: str


def is_repair(events: Iterable[Event]) -> bool:
    """Whether events are the repair agent's."""
    return any(event.kind == "action" and _KEY in event.data for event in events)


def repair_states(
    events: Sequence[Event], calls: Iterable[Mapping[str, Any]], gold: Sequence[GoldFile]
) -> Iterator[ExpertState | str]:
    """Each model call of an attempt: the expert state, or why there is none.

    A choice is an expert's when it is the function in which the whole gold patch lies, or the edit
    of that function that changes the very line that the patch changes, in the same way.
    """
    actions = {event.step: event.data.get(_KEY) for event in events if event.kind == "action"}
    replay = EditReplay(events)
    said = hashlib.sha256()
    right = False
    for row in calls:
        turn = row["turn"]
        if row["purpose"] != "agent" or (turn is None and row["status"] == "answered"):
            yield NOT_A_TURN
            continue
        answer = read_answer((row["response"] or "").encode()) if turn is not None else None
        if row["status"] != "answered" or answer is None:
            yield NOT_ANSWERED
            continue
        replay.advance(turn)
        action = _action(actions.get(turn))
        text = answer.text + END
        said.update(text.encode(errors="replace"))
        if action is None:
            yield NOT_CARRIED_OUT
        elif len(gold) != 1 or not _is_gold(action, gold[0]):
            yield Miss.OUTSIDE_GOLD if isinstance(action, _Chosen) else Miss.NO_OVERLAP
        elif isinstance(action, _Edited) and not right:
            yield Miss.OUTSIDE_GOLD
        else:
            right = True
            tool = "choose_function" if isinstance(action, _Chosen) else "edit_place"
            call = Call(tool, action.model_dump(), 0, len(text))
            hunks = tuple(hunk.number for hunk in gold[0].hunks)
            target = Target(
                Answer("repair", text, (call,)), 0, False, Alignment.EXACT, 1.0, action.path, hunks
            )
            yield ExpertState(turn, target, replay.edits, 0, said.hexdigest())


def _action(data: object) -> _Chosen | _Edited | None:
    for kind in (_Chosen, _Edited):
        try:
            return kind.model_validate(data)
        except ValidationError:
            continue
    return None


def _is_gold(action: _Chosen | _Edited, file: GoldFile) -> bool:
    if not file.hunks or {file.old, file.new} != {action.path}:
        return False
    changed = []
    for hunk in file.hunks:
        begin, end, _ = hunk.core()
        changed.append((hunk.start + begin, hunk.start + max(begin, end - 1)))
    if isinstance(action, _Chosen):
        first, last = action.lines
        return all(first <= begin and end <= last for begin, end in changed)
    return changed == [(action.line, action.line)] and (
        text_change(action.path, action.old, action.new) == file.changed()
    )
