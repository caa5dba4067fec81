"""A file of PI records, one JSON object a line."""

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from pi_extractors.base import ExtractionError
from pi_extractors.records import PIRecord, SourceName

_BEGINNING = b'{"schema_version":1,"instance_id":"'

Key = tuple[str, SourceName, int | None]


def key_of(record: PIRecord) -> Key:
    """Instance, source and step: a file has one record for each."""
    return record.instance_id, record.source, record.step


def read_records(path: Path) -> list[PIRecord]:
    """All records of a file, in order. Raises ExtractionError naming the first bad line."""
    return list(_parse(path, path.read_bytes()))


def _parse(path: Path, content: bytes) -> Iterator[PIRecord]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield PIRecord.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ExtractionError(
                f"{path}: line {number} is no PI record: {field}: {first['msg']}; "
                "run the same extraction again, or move the file away"
            ) from None


class RecordFile:
    """A file that grows record by record; what was written before an interruption is kept.

    One process at a time: it is locked while open. `finish` puts it in order.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self.records: dict[Key, PIRecord] = {}
        content = file.read()
        last = content.rpartition(b"\n")[2]
        if last and (last.startswith(_BEGINNING) or _BEGINNING.startswith(last)):
            content = content.removesuffix(last)  # it was not written to its end
            file.truncate(len(content))
        self.records.update((key_of(record), record) for record in _parse(path, content))

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> "Iterator[RecordFile]":
        """Open or create. Raises ExtractionError when it is in use or holds something else."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path), path.open("a+b") as file:
            file.seek(0)
            yield cls(path, file)

    def add(self, record: PIRecord) -> None:
        """Append a record; it takes the place of an earlier one of its key."""
        self.records[key_of(record)] = record
        self._file.write(record.model_dump_json().encode() + b"\n")
        self._file.flush()

    def finish(self, order: Iterable[str]) -> None:
        """Write the records anew, whole or not at all: by instance in an order, source and step.

        Instances of an earlier extraction that the order does not have come after, by id.
        """
        places = {instance_id: place for place, instance_id in enumerate(order)}
        sources = list(SourceName)
        records = sorted(
            self.records.values(),
            key=lambda record: (
                places.get(record.instance_id, len(places)),
                record.instance_id,
                sources.index(record.source),
                -1 if record.step is None else record.step,
            ),
        )
        with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
            for record in records:
                file.write(record.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(0o644)
        os.replace(file.name, self._path)  # noqa: PTH105


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExtractionError(f"{path}: another extraction writes it; wait for it") from None
        yield
