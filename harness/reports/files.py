"""Reading the files of a run folder, none of which is trusted."""

import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from harness.records import Record, RunFolder

FILE_CAP = 256 * 1024 * 1024
RecordT = TypeVar("RecordT", bound=Record)


def contained(folder: RunFolder, path: Path) -> Path | None:
    """A regular file of the run, or None. Raises ValueError when a link leads out of the run."""
    if not path.is_file():
        return None
    if not path.resolve().is_relative_to(folder.root.resolve()):
        raise ValueError(f"{path.relative_to(folder.root)} leads out of the run folder: not read")
    return path


def describe(error: Exception) -> str:
    """One line on what is wrong with a file."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        return f"{where}: {first['msg']}{more}"
    return " ".join(str(error).split()) or type(error).__name__


def read_bytes(folder: RunFolder, path: Path) -> bytes | None:
    """A file of the run, or None when it is missing. Raises OSError or ValueError."""
    file = contained(folder, path)
    if file is None:
        return None
    if (size := file.stat().st_size) > FILE_CAP:
        raise ValueError(f"{size:,} bytes, more than {FILE_CAP:,}: not read")
    return file.read_bytes()


def read_record(
    folder: RunFolder, path: Path, kind: type[RecordT], problems: list[str]
) -> RecordT | None:
    """A JSON file as a record, or None; what is wrong with it is added to `problems`."""
    try:
        data = read_bytes(folder, path)
        return None if data is None else kind.model_validate_json(data)
    except (OSError, ValueError) as error:
        problems.append(f"{path.relative_to(folder.root)}: {describe(error)}")
        return None


def read_mapping(folder: RunFolder, path: Path, problems: list[str]) -> dict[str, Any]:
    """A YAML or JSON file as keys and values; what is wrong with it is added to `problems`."""
    name = path.relative_to(folder.root)
    try:
        data = read_bytes(folder, path)
        if data is None:
            problems.append(f"{name} is missing")
            return {}
        value = yaml.safe_load(data) if path.suffix == ".yaml" else json.loads(data)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        problems.append(f"{name}: {describe(error)}")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{name}: expected keys and values, found {type(value).__name__}")
        return {}
    return value
