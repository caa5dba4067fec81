"""From raw rows to instances: a row is accepted whole or refused with its reason."""

import reprlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import ValidationError

from harness.records import Instance, Record
from harness.suites.errors import did_you_mean
from harness.suites.rows import Row, Unreadable

_FIELDS = tuple(Instance.model_fields)
_found = reprlib.Repr()
_found.maxstring = _found.maxother = 60


class RefusedRow(Record):
    """A row that is not an instance, and why."""

    file: str
    row: int
    field: str
    message: str

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.file}: row {self.row}, field {self.field}: {self.message}"


class Rows(NamedTuple):
    """The instances among raw rows, the refused rest, and the unknown fields passed over."""

    instances: tuple[Instance, ...]
    refused: tuple[RefusedRow, ...]
    ignored_fields: tuple[str, ...]


def validate_rows(rows: Iterable[Row], *, file: str, strict: bool = True) -> Rows:
    """Validate every row; `strict` refuses a row with an unknown field, else it is passed over."""
    instances: dict[str, Instance] = {}
    first_rows: dict[str, int] = {}
    refused: list[RefusedRow] = []
    ignored: set[str] = set()
    for number, value in rows:
        if not strict and isinstance(value, dict):
            unknown = value.keys() - set(_FIELDS)
            ignored |= unknown
            value = {key: value[key] for key in value if key not in unknown}
        instance = _instance(value)
        if isinstance(instance, Instance):
            earlier = first_rows.setdefault(instance.instance_id, number)
            if earlier == number:
                instances[instance.instance_id] = instance
                continue
            instance = ("instance_id", f"{instance.instance_id!r} is already in row {earlier}")
        field, message = instance
        refused.append(RefusedRow(file=file, row=number, field=field, message=message))
    return Rows(tuple(instances.values()), tuple(refused), tuple(sorted(ignored)))


def _instance(value: Any) -> Instance | tuple[str, str]:
    """The instance, or field and message of what is wrong with the row."""
    if isinstance(value, Unreadable):
        return "row", str(value)
    if not isinstance(value, dict):
        return "row", f"expected an object, found {_found.repr(value)}"
    present = {key: one for key, one in value.items() if one is not None or key not in _FIELDS}
    try:
        return Instance.model_validate(present)
    except RecursionError:
        return "row", "nested too deeply"
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
    fields = [".".join(map(str, one["loc"])) for one in problems]
    others = list(dict.fromkeys(name for name in fields if name != fields[0]))
    more = f" (also wrong: {_found.repr(', '.join(others))})" if others else ""
    if problems[0]["type"] == "missing":
        return fields[0], "missing" + more
    if problems[0]["type"] == "extra_forbidden":
        return _found.repr(fields[0]), "unknown field" + did_you_mean(fields[0], _FIELDS) + more
    found = _found.repr(problems[0]["input"])
    return fields[0], f"{problems[0]['msg']}, found {found}{more}"
