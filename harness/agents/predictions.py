"""Recorded patches in the official predictions format.

`.jsonl` and `.jsonl.gz` have one prediction a line; `.json` has a list of them, or an object from
instance id to prediction. Further fields of a prediction are passed over, as the official tools do.
"""

import json
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.records import encode_patch
from harness.suites.errors import SuiteError, did_you_mean
from harness.suites.rows import MAX_JSON_BYTES, Row, Unreadable, read_rows
from harness.suites.validate import RefusedRow

_FIELDS = ("instance_id", "model_name_or_path", "model_patch")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,199}")


class Predictions(NamedTuple):
    """Patches and models' names by instance id, and the rows that are no predictions."""

    patches: dict[str, str]
    models: dict[str, str]
    refused: tuple[RefusedRow, ...]


class _RefusedError(ValueError):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def load_predictions(path: Path) -> Predictions:
    """Read a predictions file; a bad row and a second prediction for an instance are refused.

    Raises SuiteError when the file is missing, damaged or of another kind.
    """
    patches: dict[str, str] = {}
    models: dict[str, str] = {}
    rows: dict[str, int] = {}
    refused: list[RefusedRow] = []
    for number, value in _rows(path):
        try:
            name, model, patch = _prediction(value)
            if name in rows:
                raise _RefusedError("instance_id", f"{name!r} is already in row {rows[name]}")
        except _RefusedError as error:
            refused.append(
                RefusedRow(file=str(path), row=number, field=error.field, message=str(error))
            )
        else:
            rows[name], models[name], patches[name] = number, model, patch
    return Predictions(patches, models, tuple(refused))


def _rows(path: Path) -> Iterator[Row]:
    """The predictions of a file, numbered from 1 (by line in JSONL)."""
    if not path.name.lower().endswith((".jsonl", ".jsonl.gz", ".json")):
        raise SuiteError(f"{path}: predictions are .jsonl, .jsonl.gz or .json files")
    if path.name.lower().endswith(".json") and path.is_file():
        by_id = _object(path)
        if by_id is not None:
            return iter(enumerate(_keyed(by_id), start=1))
    return read_rows(path)


def _object(path: Path) -> dict[str, Any] | None:
    """The file's value when it is an object; any other is left to `read_rows`."""
    if path.stat().st_size > MAX_JSON_BYTES:
        return None
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _keyed(by_id: dict[str, Any]) -> Iterator[Any]:
    for name, value in by_id.items():
        if isinstance(value, dict) and value.get("instance_id", name) == name:
            yield {**value, "instance_id": name}
        elif isinstance(value, dict):
            yield Unreadable(f"key {name!r} holds the prediction of {value['instance_id']!r}")
        else:
            yield value


def _prediction(value: Any) -> tuple[str, str, str]:
    """Instance id, model and patch. A patch of null is an empty one, as officially."""
    if isinstance(value, Unreadable):
        raise _RefusedError("row", str(value))
    if not isinstance(value, dict):
        raise _RefusedError("row", f"expected an object, found {reprlib.repr(value)}")
    for field in _FIELDS:
        if field not in value:
            unknown = [key for key in value if key not in _FIELDS]
            near = next((key for key in unknown if did_you_mean(key, [field])), None)
            raise _RefusedError(field, "missing" + (f"; found {near!r} instead" if near else ""))
    name, model, patch = (value[field] for field in _FIELDS)
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise _RefusedError("instance_id", f"not an instance id: {reprlib.repr(name)}")
    if not isinstance(model, str):
        raise _RefusedError("model_name_or_path", f"expected text, found {reprlib.repr(model)}")
    if patch is None:
        patch = ""
    if not isinstance(patch, str):
        raise _RefusedError("model_patch", f"expected text, found {reprlib.repr(patch)}")
    try:
        encode_patch(patch)
    except UnicodeEncodeError as error:
        raise _RefusedError("model_patch", f"not text at character {error.start + 1}") from None
    return name, model, patch
