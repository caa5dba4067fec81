"""Run folders as `harness eval` leaves them, with whatever a test needs in them."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from harness.config import AgentConfig, Method, ModelConfig, RunConfig, SuiteRef
from harness.gateway.calls import CallRow, CallWriter
from harness.grading.options import GradingOptions
from harness.records import Budget, Event, Instance, RunFolder
from harness.sandboxes.base import Limits

Message = dict[str, Any]


def make_run(
    folder: Path,
    instances: Sequence[Instance],
    *,
    agent: str = "mini",
    model: Literal["embedded", "endpoint", "rehearsal"] | None = "endpoint",
    sandbox: Literal["docker", "process"] = "process",
) -> Path:
    """A run without attempts."""
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    config = RunConfig(
        id="a-run",
        method=Method(name="a", title="a", description="-", agent=AgentConfig(kind=agent)),
        profile="embedded",
        suite=SuiteRef(reference="x", sha256="0" * 64, instances=len(instances)),
        seeds=(0,),
        sandbox=sandbox,
        model=ModelConfig(kind=model) if model else None,
        budget=Budget(),
        decoding={},
        limits=Limits(),
        grading=GradingOptions(limits=Limits()),
        workers=1,
        command="-",
        created_at="-",
        machine={},
    )
    run.config.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    rows = [each.model_dump_json(exclude_unset=True) for each in instances]
    run.suite.write_text("".join(f"{row}\n" for row in rows))
    return folder


def add_attempt(
    run: Path,
    instance: Instance,
    steps: Sequence[tuple[str, str] | tuple[str, str, dict[str, Any]]] = (),
    *,
    patch: str = "",
    logs: dict[str, bytes] | None = None,
    calls: Sequence[tuple[list[Message], Message]] = (),
) -> Path:
    """An attempt of events (kind, text, data), and of model calls (messages, answer)."""
    folder = RunFolder(run).attempt(instance.id, 0)
    (folder / "logs").mkdir(parents=True)
    with (folder / "events.jsonl").open("w") as file:
        for number, (kind, text, *data) in enumerate(steps):
            event = Event.model_validate(
                {
                    "step": number,
                    "seconds": number,
                    "kind": kind,
                    "text": text,
                    "data": data[0] if data else {},
                }
            )
            file.write(event.model_dump_json() + "\n")
    (folder / "patch.diff").write_text(patch)
    for name, content in (logs or {}).items():
        (folder / "logs" / name).write_bytes(content)
    if calls:
        write_calls(folder / "calls.parquet", calls)
    return folder


def write_calls(path: Path, calls: Sequence[tuple[list[Message], Message]]) -> None:
    """A `calls.parquet` of answered calls."""
    with ThreadPoolExecutor(1) as executor:
        writer = CallWriter(path, executor)
        for number, (messages, answer) in enumerate(calls, start=1):
            row = CallRow(number, "agent", datetime(2026, 1, 1, tzinfo=UTC), status="answered")
            row.request = json.dumps({"messages": messages}).encode()
            row.response = json.dumps({"choices": [{"message": answer}]}).encode()
            writer.add(row)
        writer.close().result(60)
    assert writer.error is None
