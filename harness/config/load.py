"""Reading method and profile manifests."""

from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from harness.config.run import Method, Profile
from harness.records import Record
from harness.suites.errors import did_you_mean
from harness.suites.manifests import manifests_root

R = TypeVar("R", bound=Record)


class ConfigError(ValueError):
    """A configuration is not usable; the text says what was found, where, and what would be."""


def method_names() -> list[str]:
    """The shipped methods."""
    return _names("methods")


def profile_names() -> list[str]:
    """The shipped profiles."""
    return _names("profiles")


def load_method(name: str) -> Method:
    """A method by name, or from a YAML file of one's own. Raises ConfigError."""
    return _load("methods", "method", name, Method)


def on_profile(method: Method, profile: Profile) -> Method:
    """A method as it is on a profile. Raises ConfigError when it is not for that one."""
    if not method.profiles:
        return method
    if profile.name not in method.profiles:
        raise ConfigError(
            f"method {method.name!r} is not for the profile {profile.name!r}: give one of "
            f"{', '.join(method.profiles)}"
        )
    own = method.profiles[profile.name]
    changes = {name: getattr(own, name) for name in own.model_fields_set}
    return method.model_copy(update=changes | {"profiles": {}})


def load_profile(name: str) -> Profile:
    """A profile by name, or from a YAML file of one's own. Raises ConfigError."""
    return _load("profiles", "profile", name, Profile)


def parse_yaml(path: Path, record: type[R]) -> R:
    """A YAML file as a record. Raises ConfigError with file, key and the nearest valid key."""
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(data).__name__}")
    try:
        return record.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, record)}") from None


def explain(error: ValidationError, record: type[Record]) -> str:
    """The first problem of a validation error, in words."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(record, first["loc"][:-1])
        hint = did_you_mean(str(first["loc"][-1]), known)
        return f"unknown key {where!r}{hint} (keys: {', '.join(known)})"
    return f"{where}: {first['msg']} (found {str(first.get('input'))[:80]!r})"


def _fields_at(record: type[Record], path: tuple[int | str, ...]) -> list[str]:
    current: type[Record] = record
    for part in path:
        field = current.model_fields.get(str(part))
        annotation = field.annotation if field else None
        for nested in (annotation, *get_args(annotation)):
            if isinstance(nested, type) and issubclass(nested, Record):
                current = nested
    return list(current.model_fields)


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (manifests_root() / folder).glob("*.yaml"))


def _load(folder: str, what: str, name: str, record: type[R]) -> R:
    own = Path(name)
    if own.suffix in (".yaml", ".yml"):
        if not own.is_file():
            raise ConfigError(f"{what} file {name} does not exist")
        return parse_yaml(own, record)
    path = manifests_root() / folder / f"{name}.yaml"
    if name not in _names(folder):
        names = _names(folder)
        hint = did_you_mean(name, names)
        raise ConfigError(f"unknown {what} {name!r}{hint} (shipped: {', '.join(names)})")
    return parse_yaml(path, record)
