"""Attempts for tests, as a run leaves them: events, model calls, a run folder."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.gateway.calls import CallRow, CallWriter, Status
from harness.records import Attempt, Event, Grade, Instance, StopReason, Verdict
from tests.conftest import make_instance

FILE = "/testbed/pkg/a.py"


@dataclass(frozen=True)
class Turn:
    """One model call: what was answered, and what came of its actions."""

    content: str
    calls: Sequence[tuple[str, dict[str, str]]] = ()
    observations: Sequence[str] = ("done",)
    status: Status = "answered"
    purpose: str = "agent"
    ids: Sequence[int] = ()


def edit(old: str, new: str, path: str = FILE) -> tuple[str, dict[str, str]]:
    """A call of OpenHands' editor."""
    given = {"command": "str_replace", "path": path, "old_str": old, "new_str": new}
    return "file_editor", given


def response(turn: Turn) -> dict[str, Any]:
    """The chat completion of a turn."""
    message: dict[str, Any] = {"role": "assistant", "content": turn.content}
    if turn.calls:
        message["tool_calls"] = [
            {"id": f"c{n}", "function": {"name": name, "arguments": json.dumps(given)}}
            for n, (name, given) in enumerate(turn.calls)
        ]
    return {"choices": [{"message": message}]}


def events(turns: Sequence[Turn]) -> list[Event]:
    """The events of turns, in the words of OpenHands' transcript."""
    found = []
    for step, turn in enumerate(turns, start=1):
        if turn.status != "answered" or turn.purpose != "agent":
            continue
        for (name, given), seen in zip(turn.calls, turn.observations, strict=False):
            text = f"{name}: {given.get('command', '')} {given.get('path', '')} \n[rest]\n"
            if name == "terminal":
                text = f"terminal: {given['command']}"
            found.append(Event(step=step, seconds=step, kind="action", text=text))
            data = {"tool": name}
            found.append(Event(step=step, seconds=step, kind="observation", text=seen, data=data))
    return found


def write_attempt(folder: Path, turns: Sequence[Turn]) -> Path:
    """The folder of an attempt."""
    folder.mkdir(parents=True)
    lines = (one.model_dump_json() + "\n" for one in events(turns))
    (folder / "events.jsonl").write_text("".join(lines))
    with ThreadPoolExecutor(1) as executor:
        writer = CallWriter(folder / "calls.parquet", executor)
        messages: list[dict[str, Any]] = [{"role": "user", "content": "Mend it \u2026"}]
        number = 0
        for call, turn in enumerate(turns, start=1):
            answered = turn.status == "answered"
            number += turn.purpose == "agent"
            row = CallRow(
                call=call,
                purpose=turn.purpose,
                started_at=datetime(2026, 1, 1, tzinfo=UTC),
                turn=number if answered and turn.purpose == "agent" else None,
                status=turn.status,
                request=json.dumps({"messages": messages, "tools": [], "n": 1}).encode(),
                response=json.dumps(response(turn)).encode() if answered else b"",
                prompt_ids=[1, 2, call] if turn.ids else [],
                sampled_ids=turn.ids,
                ids_from="endpoint" if turn.ids else "none",
            )
            writer.add(row)
            messages = [*messages, {"role": "assistant", "content": turn.content}]
        writer.close().result()
    return folder


def write_run(folder: Path, attempts: Sequence[tuple[Instance, int, Sequence[Turn]]]) -> Path:
    """A run folder with attempts: instance, seed, turns."""
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(f"id: {folder.name}\n")
    (folder / "lock.json").write_text("{}")
    instances = {one.instance_id: one for one, _, _ in attempts}
    lines = (one.model_dump_json() + "\n" for one in instances.values())
    (folder / "instances.jsonl").write_text("".join(lines))
    for instance, seed, turns in attempts:
        write_attempt(folder / "attempts" / instance.instance_id / str(seed), turns)
    return folder


SAYS = {
    0: ("resolved", [7, 8]),
    1: ("unresolved", [9]),
    2: ("unresolved", [9]),  # says what 1 says
    3: ("infra_failure", [5]),
    4: ("", [6]),  # not graded
    5: ("resolved", []),  # an endpoint without ids
}


def grade(run: Path, name: str, seed: int, verdict: str) -> None:
    """Write the records of an attempt and its verdict."""
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    attempt = Attempt(
        instance_id=name,
        method="m",
        seed=seed,
        model="x",
        stop_reason=StopReason.FINISHED,
        detail="",
        usage={},
        patch_sha256=digest,
        patch_bytes=0,
        started_at="2026-01-01T00:00:00+00:00",
        seconds=1,
    )
    (run / "attempts" / name / str(seed) / "attempt.json").write_text(attempt.model_dump_json())
    if verdict:
        made = Grade(
            instance_id=name,
            verdict=Verdict(verdict),
            reason="r",
            patch_sha256=digest,
            image_digest="",
            grader="",
            cache_key="",
        )
        folder = run / "grades" / name / str(seed)
        folder.mkdir(parents=True)
        (folder / "grade.json").write_text(made.model_dump_json())


def graded_run(folder: Path) -> Path:
    """A run of one instance: an attempt for each of `SAYS`."""
    instance = make_instance()
    attempts = [
        (instance, seed, [Turn("a", ids=ids), Turn("b", ids=[4] if ids else [])])
        for seed, (_, ids) in SAYS.items()
    ]
    made = write_run(folder, attempts)
    for seed, (verdict, _) in SAYS.items():
        grade(made, instance.instance_id, seed, verdict)
    return made
