"""Reading a pipeline's manifest, with other values than it has."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness.config import ConfigError
from harness.config.load import parse_yaml
from harness.pipeline.manifest import Pipeline


def load_pipeline(path: Path, changes: Sequence[str] = (), values: Sequence[Path] = ()) -> Pipeline:
    """A manifest with values changed, by files of them and then singly like `steps=10`.

    A key is one of the manifest's values or assumptions. Raises ConfigError.
    """
    if not path.is_file():
        raise ConfigError(f"pipeline {path} does not exist")
    pipeline = parse_yaml(path, Pipeline).model_dump()
    for where, key, value in changes_of(changes, values):
        if key in pipeline["values"]:
            pipeline["values"][key] = value
        elif key in pipeline["assumptions"]:
            pipeline["assumptions"][key] |= {"value": value, "source": where}
        else:
            known = ", ".join([*pipeline["values"], *pipeline["assumptions"]])
            raise ConfigError(f"{where}: expected KEY=VALUE with a key of {path} ({known})")
    try:
        return Pipeline.model_validate(pipeline)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path} with changed values: {place}: {first['msg']}") from None


def changes_of(changes: Sequence[str], values: Sequence[Path]) -> Iterator[tuple[str, str, Any]]:
    """Where a change stands, its key and its value. Raises ConfigError."""
    for path in values:
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"values {path}: {error}") from None
        if not isinstance(found, dict):
            raise ConfigError(f"values {path}: expected a mapping of names to values")
        yield from ((str(path), str(key), value) for key, value in found.items())
    for change in changes:
        key, equals, text = change.partition("=")
        yield repr(change), key if equals else change, yaml.safe_load(text)
