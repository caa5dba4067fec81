"""Everything that the viewer shows of one attempt."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.records import Instance, InstanceId, RunFolder
from harness.reports.caps import Caps
from harness.reports.files import contained, describe
from harness.reports.load import read_entry
from harness.reports.payload import attempt_payload, instance_payload
from harness.reports.run import Run
from harness.reports.text import plain
from harness.viewer.tokens import attempt_tokens, shipped_tokenizer

_CAPS = Caps()
_MOST_PI = 200


@dataclass(frozen=True)
class Sources:
    """What stands beside attempts: ledgers of CHOP trainings by name, PI, a tokeniser."""

    ledgers: Mapping[str, Path] = field(default_factory=dict)
    pi: Path | None = None
    contexts: Path | None = None
    tokenizer: Path | None = None


def attempt_view(
    folder: RunFolder,
    run_id: str,
    model: str,
    instance_id: InstanceId,
    seed: int,
    sources: Sources,
    ledger: str,
) -> dict[str, Any]:
    """The attempt as the report shows it, its instance, its tokens and its PI.

    ledger: the name of one; the first for another name. What cannot be read is named under
    `problems`. Raises FileNotFoundError for an attempt that is not there.
    """
    if ledger not in sources.ledgers:
        ledger = next(iter(sources.ledgers), "")
    attempts = (folder.root / "attempts").resolve()
    place = folder.attempt(instance_id, seed)
    if not place.is_dir() or not place.resolve().is_relative_to(attempts):
        raise FileNotFoundError(f"no attempt {instance_id}, seed {seed}, in {folder.root.name}")
    instance = _instance(folder, instance_id)
    run = Run(folder, run_id, {}, {}, None, {}, (), {})
    entry = read_entry(folder, instance_id, seed)
    shown = attempt_payload(run, entry, instance, _CAPS, full=True)
    problems: list[str] = shown["problems"]
    name = f"{run_id}/{instance_id}/{seed}"
    sequences: list[dict[str, Any]] = []
    pi: list[dict[str, Any]] = []
    with _noted("tokens", problems):
        calls = contained(folder, place / "calls.parquet")
        if calls is not None:
            tokenizer = sources.tokenizer or shipped_tokenizer(model)
            sequences = attempt_tokens(calls, name, sources.ledgers.get(ledger), tokenizer)
    with _noted("--pi", problems):
        pi += _records(sources.pi, instance_id)
    with _noted("--contexts", problems):
        pi += _contexts(sources.contexts, name)
    return shown | {
        "instance": instance_payload(instance, run, _CAPS) if instance else None,
        "sequences": sequences,
        "ledger": ledger,
        "ledgers": list(sources.ledgers),
        "pi": _beside(pi),
    }


@contextmanager
def _noted(what: str, problems: list[str]) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems.append(f"{what}: {plain(describe(error))}")


def _instance(folder: RunFolder, instance_id: str) -> Instance | None:
    """The instance as the run has it; lines without the id are not parsed."""
    try:
        with folder.suite.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if instance_id in line:
                    found = Instance.model_validate_json(line)
                    if found.instance_id == instance_id:
                        return found
    except (OSError, ValidationError):
        return None
    return None


def _beside(texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Texts of PI, each once: most sources say the same at every turn."""
    seen = {(one["source"], one["text"]): one for one in reversed(texts)}
    return list(reversed(seen.values()))[:_MOST_PI]


def _records(path: Path | None, instance_id: str) -> list[dict[str, Any]]:
    if path is None:
        return []
    found = _by_instance(path, path.stat().st_mtime_ns).get(instance_id, [])
    return [
        {"source": one["source"], "tier": one["tier"], "turn": None, "text": plain(one["text"])}
        for one in map(json.loads, found)
    ]


@lru_cache(maxsize=2)
def _by_instance(path: Path, changed: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.setdefault(json.loads(line)["instance_id"], []).append(line)
        except (ValueError, TypeError, KeyError):
            continue
    return found


def _contexts(path: Path | None, name: str) -> list[dict[str, Any]]:
    if path is None:
        return []
    import pyarrow.parquet as pq

    run, instance_id, seed = name.rsplit("/", 2)
    wanted = [("run", "=", run), ("instance_id", "=", instance_id), ("seed", "=", int(seed))]
    rows = pq.read_table(path, filters=wanted).to_pylist()
    return [
        {"source": row["source"], "tier": "", "turn": row["turn"], "text": plain(row["text"])}
        for row in rows
    ]
