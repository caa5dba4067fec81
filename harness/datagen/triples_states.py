"""The states of a run's trajectories, and which of them have an expert action."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.datagen.edits import EditReplay, failed, tool_operations
from harness.datagen.triples_actions import Answer, read_answer
from harness.datagen.triples_align import Miss, align
from harness.datagen.triples_gold import GoldFile
from harness.datagen.triples_repair import is_repair, repair_states
from harness.datagen.triples_state import NOT_A_TURN, NOT_ANSWERED, NOT_CARRIED_OUT, ExpertState
from harness.records import Event

_BATCH = 16

# Why a state is no triple, besides a `Miss`.
UNREADABLE = "unreadable"  # no answer with calls in a form that is known
NO_CALL = "no_call"  # the model called no tool
NO_EDIT = "no_edit"  # its calls change no file
EDIT_FAILED = "edit_failed"  # the tool refused
DUPLICATE = "duplicate"  # the same state and action as an earlier row


@dataclass(frozen=True)
class Heavy:
    """What of a model call is large: read for the states that are written."""

    request: str
    prompt_ids: list[int]
    sampled_ids: list[int]
    ids_from: str


def expert_states(
    attempt: Path, gold: Sequence[GoldFile], *, min_similarity: float
) -> Iterator[ExpertState | str]:
    """Each model call of an attempt: the expert states, or why there is none.

    A call with several expert actions is as many states.
    """
    events = read_events(attempt / "events.jsonl")
    if is_repair(events):
        yield from repair_states(events, _light_calls(attempt / "calls.parquet"), gold)
        return
    replay = EditReplay(events)
    said = hashlib.sha256()
    outcomes = _outcomes(events)
    for row in _light_calls(attempt / "calls.parquet"):
        if row["purpose"] != "agent" or (row["turn"] is None and row["status"] == "answered"):
            yield NOT_A_TURN
        elif row["status"] != "answered" or row["turn"] is None:
            yield NOT_ANSWERED
        else:
            answer = read_answer((row["response"] or "").encode())
            turn = row["turn"]
            if answer is None:
                yield UNREADABLE
            elif not answer.calls:
                yield NO_CALL
            else:
                replay.advance(turn)
                yield from _of_turn(
                    turn, answer, replay, outcomes.get(turn, []), gold, min_similarity, said
                )
            if answer is not None:
                said.update(answer.text.encode(errors="replace"))


def heavy_calls(attempt: Path, turns: Collection[int]) -> dict[int, Heavy]:
    """The large parts of some turns of an attempt."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found = {}
    columns = ["turn", "status", "purpose", "request", "prompt_ids", "sampled_ids", "ids_from"]
    wanted = sorted(turns)
    with pq.ParquetFile(attempt / "calls.parquet") as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
            for row in batch.filter(pc.is_in(batch["turn"], _int32(wanted))).to_pylist():
                if row["status"] == "answered" and row["purpose"] == "agent":
                    found[row["turn"]] = Heavy(
                        row["request"], row["prompt_ids"], row["sampled_ids"], row["ids_from"]
                    )
    return found


def read_events(path: Path) -> list[Event]:
    """The events of an attempt; lines that are none are passed over."""
    events = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                events.append(Event.model_validate_json(line))
            except ValidationError:
                continue
    return events


def _of_turn(
    turn: int,
    answer: Answer,
    replay: EditReplay,
    outcomes: Sequence[bool],
    gold: Sequence[GoldFile],
    min_similarity: float,
    said: "hashlib._Hash",
) -> Iterator[ExpertState | str]:
    shells = deepcopy(replay.shells)  # the events of the turn run in them again
    reasons: list[str] = []
    found = []
    for number, call in enumerate(answer.calls):
        operations = tool_operations(call.tool, call.arguments, shells)
        if not operations:
            reasons.append(NO_EDIT)
        elif number >= len(outcomes):
            reasons.append(NOT_CARRIED_OUT)
        elif not outcomes[number]:
            reasons.append(EDIT_FAILED)
        else:
            result = align(answer, number, operations, gold, min_similarity=min_similarity)
            if isinstance(result, Miss):
                reasons.append(result)
            else:
                action = result.answer.calls[result.call]
                text = result.answer.text[: action.end]
                key = said.copy()
                key.update(f"{number}\0{text}".encode(errors="replace"))
                found.append(ExpertState(turn, result, replay.edits, number, key.hexdigest()))
    if found:
        yield from found
    else:  # the reason that came nearest to an expert action
        order = [NO_EDIT, NOT_CARRIED_OUT, EDIT_FAILED, *Miss]
        yield max(reasons, key=order.index)


def _outcomes(events: Sequence[Event]) -> dict[int, list[bool]]:
    """Whether each action of a turn was carried out without a refusal, in order, by turn."""
    outcomes: dict[int, list[bool]] = defaultdict(list)
    waiting: list[tuple[int, int]] = []
    for event in events:
        if event.kind == "action":
            waiting.append((event.step, len(outcomes[event.step])))
            outcomes[event.step].append(True)
        elif event.kind == "observation" and waiting:
            turn, number = waiting.pop(0)
            outcomes[turn][number] = not failed(event)
    return outcomes


def _light_calls(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    columns = ["call", "turn", "purpose", "status", "response"]
    with pq.ParquetFile(path) as file:
        rows = [
            row
            for batch in file.iter_batches(batch_size=_BATCH, columns=columns)
            for row in batch.to_pylist()
        ]
    yield from sorted(rows, key=lambda row: row["call"])


def _int32(values: Sequence[int]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.int32())
