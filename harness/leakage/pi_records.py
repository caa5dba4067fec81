"""Reads PI records, none of which is trusted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.leakage.findings import Severity
from harness.leakage.material import AuditError
from pi_extractors.records import PIRecord

MAX_LINE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Kind:
    """What can be wrong with PI or with training rows: one finding, with the first examples."""

    severity: Severity
    title: str


def read_pi(path: Path) -> Iterator[tuple[int, PIRecord]]:
    """The records of a JSONL file, with line numbers.

    Raises AuditError naming the first line that is no PI record.
    """
    from pydantic import ValidationError

    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=1):
            if not line.strip():
                continue
            try:
                yield number, PIRecord.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"])) or "content"
                raise AuditError(
                    f"{path}:{number}: no PI record: {where}: {first['msg']}; make the file again "
                    "with `harness datagen pi`"
                ) from None
