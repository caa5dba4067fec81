"""Answers given again: the first calls of an attempt, from the record of an earlier one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from harness.gateway.answers import Tokens, check_shape
from harness.gateway.calls import CallRow, read_calls
from harness.gateway.exchange import Answers
from harness.gateway.failures import EndpointError
from harness.gateway.stream import DONE, Source, event
from harness.gateway.upstream import Tries
from harness.gateway.wire import PASSED_ON, Json, call_seed

T = TypeVar("T")

DIVERGED = "the replay diverged from the recording"
_SHOWN = 60


class RecordingError(ValueError):
    """Calls that cannot be given again; the text says which and why."""


@dataclass(frozen=True)
class Recording:
    """What an attempt is answered with, in the order of the answers.

    whole: there is no more to be had than `rows`. forced: given also where the request is another
    than the recorded one. ids: the recorded token ids are of the model that is asked afterwards.
    card: the recorded model's entry of `/models`, for what is whole.
    """

    rows: tuple[CallRow, ...]
    whole: bool
    forced: bool
    ids: bool
    card: Json


def read_recording(
    path: Path, *, seed: int, step: int | None, forced: bool, ids: bool, card: Json
) -> Recording:
    """The answers of an attempt with `seed` before its turn `step`; all of them for None and for a
    step beyond the last turn.

    Raises RecordingError where a call among them was not answered, or they overlapped.
    """
    try:
        calls = sorted(read_calls(path), key=lambda row: row.call)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RecordingError(f"{path}: no record of calls ({error})") from None
    first_live = next((row.call for row in calls if step and row.turn == step), None)
    given = [row for row in calls if first_live is None or row.call < first_live]
    for row in given:
        if row.status not in ("answered", "refused"):
            most = _turns_before(calls, row)
            raise RecordingError(
                f"{path}: call {row.call} was {row.status} ({row.error[:200]}); answered calls "
                f"alone can be given again: choose a --step of at most {most}"
            )
    answered = {row.seed: row for row in given if row.status == "answered"}
    order = [call_seed(seed, number) for number in range(1, len(answered) + 1)]
    if set(order) != answered.keys():
        raise RecordingError(f"{path}: its calls were not made one by one with seed {seed}")
    rows = tuple(answered[number] for number in order)
    return Recording(rows, whole=first_live is None, forced=forced, ids=ids, card=card)


def difference(recorded: bytes, asked: bytes) -> str | None:
    """The first place where what two requests ask differs, with both texts; None for the same.

    How the model samples is the run's, and is not compared.
    """
    old, new = orjson.loads(recorded), orjson.loads(asked)
    for name in PASSED_ON:
        if old.get(name) != new.get(name):
            return _first(old.get(name), new.get(name), name)
    return None


class ReplayedAnswers:
    """An endpoint that gives an attempt its recorded answers first, then those of `live`.

    A call is known by its sampling seed, which tells its number: an attempt that is started again
    gets its answers again.
    """

    def __init__(self, recording: Recording, live: Answers, *, seed: int) -> None:
        self._recording = recording
        self._live = live
        self._rows = {
            call_seed(seed, number): row for number, row in enumerate(recording.rows, start=1)
        }

    async def whole(self, body: bytes, tries: Tries) -> tuple[Json, Tokens]:
        """See `Upstream.whole`. Raises EndpointError where the attempt diverges."""
        if (row := self._given(body)) is None:
            return await self._live.whole(body, tries)
        answer = check_shape(self._answer(row, body), "message")
        tokens = Tokens()
        tokens.take(answer)
        return answer, tokens

    async def stream(self, body: bytes, tries: Tries, begin: Callable[[Source], Awaitable[T]]) -> T:
        """See `Upstream.stream`; a recorded answer comes in one piece."""
        if (row := self._given(body)) is None:
            return await self._live.stream(body, tries, begin)
        answer = self._answer(row, body)
        for choice in answer["choices"]:
            message = choice["delta"] = choice.pop("message")
            for index, call in enumerate(message.get("tool_calls") or ()):
                call["index"] = index
        return await begin(_Bytes(event(orjson.dumps(answer)) + event(DONE)))

    async def card(self) -> Json:
        """See `Upstream.card`."""
        return self._recording.card if self._recording.whole else await self._live.card()

    def cut(self) -> None:
        """See `Upstream.cut`."""
        self._live.cut()

    def _given(self, body: bytes) -> CallRow | None:
        row = self._rows.get(orjson.loads(body)["seed"])
        if row is None:
            if self._recording.whole:
                end = f"call {len(self._rows) + 1} is asked for, and it ends after "
                raise EndpointError(f"{DIVERGED}: {end}{len(self._rows)}")
            return None
        if not self._recording.forced and (what := difference(row.request, body)):
            where = f"turn {row.turn}" if row.turn else f"call {row.call} ({row.purpose})"
            raise EndpointError(f"{DIVERGED} at {where}: {what}")
        return row

    def _answer(self, row: CallRow, body: bytes) -> Json:
        answer: Json = orjson.loads(row.response)
        choice = answer["choices"][0]
        if row.stop_reason is not None:
            choice.setdefault("stop_reason", row.stop_reason)
        exact = row.ids_from == "endpoint" and self._recording.ids
        if exact and difference(row.request, body) is None:
            answer["prompt_token_ids"] = list(row.prompt_ids)
            choice["token_ids"] = list(row.sampled_ids)
            choice["logprobs"] = {"content": [{"logprob": value} for value in row.logprobs]}
        return answer


class _Bytes:
    """A stream's bytes, all there at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data

    def close(self) -> None:
        pass


def _turns_before(calls: list[CallRow], row: CallRow) -> int:
    return max((one.turn or 0 for one in calls if one.call < row.call), default=1)


def _first(old: Any, new: Any, where: str) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                return _first(old.get(key), new.get(key), f"{where}.{key}")
    if isinstance(old, list) and isinstance(new, list):
        for index, (one, other) in enumerate(zip(old, new, strict=False)):
            if one != other:
                return _first(one, other, f"{where}[{index}]")
        return f"{where} had {len(old)} entries, has {len(new)}"
    if isinstance(old, str) and isinstance(new, str):
        pairs = enumerate(zip(old, new, strict=False))
        at = next((i for i, (one, other) in pairs if one != other), min(len(old), len(new)))
        begin = max(at - _SHOWN // 2, 0)
        was, now = (text[begin : begin + _SHOWN] for text in (old, new))
        return f"{where}, character {at}: was {was!r}, is {now!r}"
    return f"{where}: was {str(old)[:_SHOWN]!r}, is {str(new)[:_SHOWN]!r}"
