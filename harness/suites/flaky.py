"""Instances whose verdict is known not to be trustworthy: `manifests/flaky.yaml`."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from harness.records import InstanceId, Record
from harness.suites.errors import SuiteError
from harness.suites.manifests import manifests_root


class FlakyInstance(Record):
    """An instance whose gold patch fails, or passes only sometimes, or only with a network."""

    instance_id: str
    kind: Literal["gold_fails", "flaky", "network"]
    reason: str = Field(min_length=1)
    evidence: Literal["measured here", "reported upstream"]
    sources: tuple[str, ...] = ()


_Entries = TypeAdapter(tuple[FlakyInstance, ...])


def load_flaky(path: Path | None = None) -> dict[InstanceId, FlakyInstance]:
    """The known-flaky instances by id, from the shipped manifest unless a path is given.

    Raises SuiteError naming file, entry and field.
    """
    path = path or manifests_root() / "flaky.yaml"
    try:
        entries = _Entries.validate_python(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise SuiteError(f"{path}: cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        entry, *field = first["loc"] or ("list",)
        number = entry + 1 if isinstance(entry, int) else entry
        raise SuiteError(
            f"{path}: entry {number}, field {'.'.join(map(str, field))}: {first['msg']}"
        ) from None
    flaky = {InstanceId(one.instance_id): one for one in entries}
    if len(flaky) != len(entries):
        raise SuiteError(f"{path}: an instance is listed twice")
    return flaky
