"""A trajectory as the viewer shows it: bounded in events, in characters, in line length."""

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from harness.records import Event
from harness.reports.caps import KIB, Caps
from harness.reports.files import contained, describe
from harness.reports.run import Run
from harness.reports.text import clip, plain

LINE_CAP = 16 * KIB * KIB
DATA_CAP = 4 * KIB

Json = dict[str, Any]


def trajectory(run: Run, path: Path, caps: Caps, *, full: bool) -> Json:
    """The events of one attempt: the first three quarters that fit the caps, then the last."""
    shown: Json = {"events": [], "cut": None, "total": 0, "note": "", "file": run.label(path)}
    if not full:
        return shown | {"note": "Left out: the report has reached its size limit."}
    try:
        file = contained(run.folder, path)
        if file is None:
            return shown | {"note": "There is no events.jsonl."}
        with file.open("rb") as stream:
            head, tail, total = _split(stream, caps)
    except (OSError, ValueError) as error:
        return shown | {"note": plain(describe(error))}
    cut = total - len(head) - len(tail)
    return shown | {
        "events": head + tail,
        "cut": {"events": f"{cut:,}", "at": len(head)} if cut else None,
        "total": total,
    }


def _split(stream: BinaryIO, caps: Caps) -> tuple[list[Json], list[Json], int]:
    """First and last events within the caps, and how many there are."""
    head: list[Json] = []
    tail: deque[Json] = deque()
    head_room, tail_room = caps.trajectory_characters * 3 // 4, caps.trajectory_characters // 4
    total = 0
    for number, data in _lines(stream):
        total += 1
        event = _event(number, data, caps)
        if not tail and len(head) < caps.events * 3 // 4 and _size(event) <= head_room:
            head.append(event)
            head_room -= _size(event)
            continue
        tail.append(event)
        tail_room -= _size(event)
        while len(tail) > 1 and (len(tail) > caps.events // 4 or tail_room < 0):
            tail_room += _size(tail.popleft())
    return head, list(tail), total


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank, at most `LINE_CAP` of each."""
    number = 0
    while data := stream.readline(LINE_CAP):
        number += 1
        part = data
        while part and not part.endswith(b"\n"):
            part = stream.readline(LINE_CAP)
        if data.strip():
            yield number, data


def _event(number: int, data: bytes, caps: Caps) -> Json:
    try:
        event = _parse(data)
    except (ValueError, RecursionError) as error:
        text = f"events.jsonl line {number} is not an event: {describe(error)}\n"
        text += data.decode(errors="replace")
        return {
            "kind": "unreadable",
            "step": "?",
            "when": f"line {number}",
            "text": clip(text, caps.event_characters).as_json(),
            "data": None,
        }
    extra = json.dumps(event.data, indent=2, ensure_ascii=False) if event.data else None
    return {
        "kind": event.kind,
        "step": event.step,
        "when": f"step {event.step} · {event.seconds:,.1f} s",
        "text": clip(event.text, caps.event_characters).as_json(),
        "data": clip(extra, DATA_CAP).as_json() if extra else None,
    }


def _parse(data: bytes) -> Event:
    """An event; text that is not valid Unicode (a model may write it) is replaced, not refused."""
    try:
        return Event.model_validate_json(data)
    except ValidationError:
        value = json.loads(data.decode(errors="replace"))
        return Event.model_validate_json(
            json.dumps(value, ensure_ascii=False).encode(errors="replace")
        )


def _size(event: Json) -> int:
    return sum(
        len(part) for part in (event["text"], event["data"]) if part for part in _texts(part)
    )


def _texts(shown: Json) -> tuple[str, str]:
    return shown["head"], shown.get("tail", "")
