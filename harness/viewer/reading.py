"""What the index takes of the files of runs, none of which is trusted."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.records import InstanceId, RunFolder
from harness.reports.files import contained, read_bytes, read_mapping, read_record
from harness.reports.load import read_entry
from harness.reports.text import plain
from harness.scoring.records import Scores

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")  # of an instance
_SEED = re.compile(r"[0-9]{1,9}")
_DEPTH = 4  # folders from the root to a run.yaml
_TEXT = 40_000  # characters of an attempt that are searched
_EVENTS = 4 << 20  # bytes that are read for them
_LARGEST = 2**53  # a greater number, or none, is shown as 0


def runs_on_disk(root: Path) -> dict[str, RunFolder]:
    """The runs below a root by their path from there, at most three folders down."""
    found = {}
    for depth in range(_DEPTH):
        for path in sorted(root.glob("*/" * depth + "run.yaml")):
            name = str(path.parent.relative_to(root))
            if name == plain(name) and path.is_file() and path.resolve().is_relative_to(root):
                found[name] = RunFolder(path.parent)
    return found


def attempts_on_disk(folder: RunFolder) -> Iterator[tuple[InstanceId, int, str]]:
    """Instance, seed, and times and sizes of the files of every attempt."""
    for path in sorted((folder.root / "attempts").glob("*/[0-9]*")):
        name = path.parent.name
        if _SEED.fullmatch(path.name) and NAME.fullmatch(name) and path.is_dir():
            instance, seed = InstanceId(name), int(path.name)
            grade = folder.grade(instance, seed) / "grade.json"
            files = (path / "attempt.json", path / "events.jsonl", grade)
            yield instance, seed, stamp(*files)


def stamp(*files: Path) -> str:
    """Times and sizes, which change with the files."""
    return " ".join(map(_stamp, files))


def _stamp(path: Path) -> str:
    try:
        about = path.stat()
    except OSError:
        return "-"
    return f"{about.st_mtime_ns}/{about.st_size}"


def run_figures(folder: RunFolder, name: str) -> tuple[str, ...]:
    """Id, method, suite, model and pass@1 as JSON; what cannot be read is left out."""
    config = read_mapping(folder, folder.config, [])
    scores = read_record(folder, folder.scores, Scores, [])
    suite = config.get("suite")
    shown = {}
    if scores is not None:
        interval = scores.pass_at_1.interval.model_dump(mode="json") if scores.pass_at_1 else None
        shown = {"pass_at_1": interval, "instances": scores.instances}
    return (
        plain(str(config.get("id", name))),
        _named(config.get("method"), "name"),
        _named(suite, "reference"),
        _named(config.get("model"), "name"),
        json.dumps(shown),
    )


def _named(value: Any, key: str) -> str:
    return plain(str(value.get(key, "") if isinstance(value, dict) else value or ""))


def attempt_figures(folder: RunFolder, instance: InstanceId, seed: int) -> tuple[str | float, ...]:
    """Status, stop reason, turns, tokens, seconds and bytes of the patch."""
    entry = read_entry(folder, instance, seed)
    attempt = entry.attempt
    if attempt is None:
        return entry.status.value, "", 0, 0, 0.0, 0
    numbers = (
        attempt.usage.turns,
        attempt.usage.generated_tokens,
        attempt.seconds,
        attempt.patch_bytes,
    )
    return (
        entry.status.value,
        attempt.stop_reason.value,
        *(number if abs(number) < _LARGEST else 0 for number in numbers),
    )


def repositories(folder: RunFolder) -> dict[str, str]:
    """The repository of every instance of a run, as far as its suite can be read."""
    found: dict[str, str] = {}
    try:
        for line in (read_bytes(folder, folder.suite) or b"").splitlines():
            row = json.loads(line)
            found[str(row["instance_id"])] = plain(str(row["repo"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return found


def searched_text(folder: RunFolder, attempt: Path) -> str:
    """What was said and done in an attempt, and its patch, as far as they are searched."""
    parts: list[str] = []
    for name in ("patch.diff", "events.jsonl"):
        try:
            file = contained(folder, attempt / name)
            if file is None:
                continue
            with file.open("rb") as stream:
                data = stream.read(_EVENTS).decode(errors="replace")
        except (OSError, ValueError):
            continue
        parts += [data] if name == "patch.diff" else _said(data)
    return "\n".join(parts)[:_TEXT].encode(errors="replace").decode()


def _said(lines: str) -> Iterator[str]:
    for line in lines.splitlines():
        try:
            yield str(json.loads(line)["text"])
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
