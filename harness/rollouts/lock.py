"""What decides a run's results, by content: `lock.json`, checked again at every resume."""

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from harness.records import Record


class LockMismatchError(RuntimeError):
    """A run's inputs changed since it began."""


class RunLock(Record):
    """Digests and versions of everything that a result depends on."""

    schema_version: Literal[1] = 1
    suite_sha256: str
    instances_sha256: str
    images: dict[str, str]
    method_sha256: str
    model: dict[str, Any] | None
    predictions_sha256: str | None
    seeds: tuple[int, ...]
    budget: dict[str, Any]
    decoding: dict[str, Any]
    limits: dict[str, Any]
    grading: dict[str, Any]
    sandbox: str
    agent: dict[str, str]
    grader: str
    replay: dict[str, Any] | None = None
    packages: dict[str, str]


def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a result."""
    names = ("swe-harness", "swebench", "mini-swe-agent", "torch", "transformers", "docker")
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def locked_model(path: Path) -> dict[str, Any] | None:
    """The model of a run on disk, for resuming what needs no model any more."""
    if not path.exists():
        return None
    model: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")).get("model")
    return model


def write_or_check(path: Path, lock: RunLock) -> None:
    """Write the lock of a new run, or compare with that of a run to be resumed.

    A lock without images says nothing about them (see `add_images`). Raises LockMismatchError
    naming every field that differs, with both values.
    """
    new = json.loads(lock.model_dump_json())
    if not path.exists():
        _write(path, new)
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    if not new["images"]:
        new["images"] = old.get("images")
    _compare(path, old, new)


def add_images(path: Path, digests: Mapping[str, str]) -> None:
    """Lock images that a run gets only now. Raises LockMismatchError as `write_or_check`."""
    old = json.loads(path.read_text(encoding="utf-8"))
    known = {name: old["images"][name] for name in digests if name in old["images"]}
    _compare(path, {"images": known}, {"images": {name: digests[name] for name in known}})
    if len(known) < len(digests):
        old["images"] |= digests
        _write(path, old)


def _write(path: Path, lock: Any) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(lock, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def _compare(path: Path, old: Any, new: Any) -> None:
    if differences := _differences(old, new):
        lines = "\n".join(f"  {line}" for line in differences[:10])
        raise LockMismatchError(
            f"{path}: the run cannot be resumed, because what it depends on has changed:\n{lines}\n"
            "Start a new run (another --run-id), or bring the inputs back."
        )


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[str] = []
        for key in sorted(old.keys() | new.keys()):
            name = f"{where}.{key}" if where else key
            if old.get(key) != new.get(key):
                found += _differences(old.get(key), new.get(key), name)
        return found
    return [f"{where}: was {str(old)[:80]}, is {str(new)[:80]}"]
