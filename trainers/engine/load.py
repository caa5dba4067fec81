"""Reading a configuration."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from trainers.engine.config import TrainSettings
from trainers.engine.errors import ConfigError


def load_settings(
    path: Path, changes: Sequence[str] = (), method: str | None = None
) -> TrainSettings:
    """A YAML file with `changes` like `optimiser.steps=10` on top.

    method: the method's name, where the file names none or this one. The key `about` is for people
    and left out. Raises ConfigError with file, key and the nearest valid key.
    """
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(data).__name__}")
    data.pop("about", None)
    for change in changes:
        apply_change(data, change)
    if method is not None:
        _name_method(data, method, path)
    try:
        return TrainSettings.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from None


def apply_change(data: dict[str, Any], change: str) -> None:
    """Set one key, in place, from `KEY=VALUE` with a value in YAML. Raises ConfigError."""
    key, equals, text = change.partition("=")
    *parents, last = key.split(".")
    for parent in parents:
        child = data.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{change!r}: {parent} holds {child!r}, which has no keys")
        data = child
    if not equals or not all([*parents, last]):
        raise ConfigError(f"{change!r}: expected KEY=VALUE, such as optimiser.steps=10")
    try:
        data[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{change!r}: the value is no YAML: {error}") from None


def _name_method(data: dict[str, Any], method: str, path: Path) -> None:
    keys = data.setdefault("method", {})
    if not isinstance(keys, dict) or keys.setdefault("name", method) != method:
        raise ConfigError(
            f"{path}: its method is {keys.get('name') if isinstance(keys, dict) else keys!r}, not "
            f"{method!r}: name that one, or give another file"
        )


def _explain(error: ValidationError) -> str:
    """The first problem, in words."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_at(TrainSettings, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown key {where!r}{hint} (keys: {', '.join(known)})"
    if first["type"].startswith("union_tag"):
        return f"{where}: {first['msg']}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (found {str(first['input'])[:80]!r})" if where else message


def _keys_at(record: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys below a place in the settings; a method's name, or a teacher's kind, is a part."""
    found = [record]
    for part in path:
        fields = [one.model_fields[str(part)] for one in found if str(part) in one.model_fields]
        annotations = [each for field in fields for each in _parts(field.annotation)]
        below = [one for one in annotations if isinstance(one, type) and issubclass(one, BaseModel)]
        found = below or [one for one in found if part in _tags(one)]
    return list(found[0].model_fields)


def _tags(record: type[BaseModel]) -> set[Any]:
    """What tells a record from the others that may stand in its place."""
    fields = [record.model_fields[key] for key in ("name", "kind") if key in record.model_fields]
    return {each for field in fields for each in get_args(field.annotation)}


def _parts(annotation: Any) -> list[Any]:
    """An annotation and all that it is made of."""
    return [annotation, *(part for each in get_args(annotation) for part in _parts(each))]
