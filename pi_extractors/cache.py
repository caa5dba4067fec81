"""PI by its inputs: what was extracted once is not extracted again."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import ValidationError

from pi_extractors.base import EditLog, PISource, Snapshot, TokenCounter
from pi_extractors.records import PIRecord

Item = TypeVar("Item", contravariant=True)


class CacheableSource(PISource[Item], Protocol[Item]):
    """A source that knows its provenance before it extracts."""

    @property
    def extractor(self) -> str:
        """Name and version, as in the record's provenance."""
        ...

    @property
    def budget(self) -> int:
        """Most tokens of a text."""
        ...

    @property
    def counter(self) -> TokenCounter:
        """What counts them."""
        ...

    @property
    def reads_repository(self) -> bool:
        """Whether it needs a snapshot."""
        ...

    def inputs(
        self, item: Item, snapshot: Snapshot | None = None, edits: EditLog = (), step: int = 0
    ) -> dict[str, str]:
        """The digests that the record's provenance will have."""
        ...


class PICache:
    """A folder of records by the digest of what they are made from, safe for several processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def extract(
        self,
        source: CacheableSource[Item],
        item_id: str,
        item: Item,
        snapshot: Snapshot | None = None,
        edits: EditLog = (),
        *,
        step: int = 0,
    ) -> PIRecord:
        """The record, kept or made now. Raises ExtractionError as the source does."""
        key = provenance_key(source, item_id, source.inputs(item, snapshot, edits, step))
        path = self._root / key[:2] / f"{key[2:]}.json"
        if (kept := _read(path)) is not None:
            return kept if kept.step is None else kept.model_copy(update={"step": step})
        record = source.extract(item, snapshot, edits, step=step)
        _write(path, record)
        return record


def provenance_key(source: CacheableSource[Item], item_id: str, inputs: dict[str, str]) -> str:
    """SHA-256 over all that decides a record's text."""
    return _digest(
        item_id, source.name, source.extractor, source.budget, source.counter.name, inputs
    )


def record_key(record: PIRecord) -> str:
    """The `provenance_key` that a record was made under."""
    made = record.provenance
    return _digest(
        record.instance_id,
        record.source,
        made.extractor,
        record.budget,
        record.tokenizer,
        made.inputs,
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> PIRecord | None:
    """A damaged entry is a miss."""
    try:
        return PIRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, record: PIRecord) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(record.model_dump_json().encode())
    os.replace(file.name, path)  # noqa: PTH105
