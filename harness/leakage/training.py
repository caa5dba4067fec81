"""What training used: rows of its suite, PI records, training rows; read once, as facts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.leakage.filter_rows import LineDigest, RawRow, open_rows
from harness.leakage.filter_rules import RowFacts, row_facts
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError
from pi_extractors.source import digest


@dataclass(frozen=True)
class Rows:
    """A suite's rows as the leakage filter sees them; rows that no grader takes are there too."""

    sha256: str
    facts: tuple[RowFacts, ...]
    digests: Mapping[str, Mapping[str, str]]
    """By instance id: digests of the fields that PI is made of, as PI records state them."""

    @property
    def ids(self) -> frozenset[str]:
        """The instance ids."""
        return frozenset(self.digests)


def rows(reference: str) -> Rows:
    """The rows of a suite. Raises SuiteError."""
    path = Path(reference)
    stat = path.stat() if path.is_file() else None
    return _rows(reference, (stat.st_mtime_ns, stat.st_size) if stat else None)


@lru_cache(maxsize=4)
def _rows(reference: str, stamp: tuple[int, int] | None) -> Rows:
    lines = LineDigest()
    facts = []
    digests = {}
    for row in open_rows(reference):
        lines.add(row.line)
        facts.append(row_facts(row))
        digests[facts[-1].instance_id] = _digests(row)
    return Rows(lines.hex, tuple(facts), digests)


def _digests(row: RawRow) -> dict[str, str]:
    if not isinstance(row.value, dict):
        return {}
    columns = {"patch": "patch", "test_patch": "test_patch", "issue": "problem_statement"}
    made = {
        name: digest(row.value[column])
        for name, column in columns.items()
        if isinstance(row.value.get(column), str)
    }
    for name in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        tests = _tests(row.value.get(name))
        if tests is not None:
            made[name.lower()] = digest(*tests)
    return made


def _tests(value: Any) -> list[str] | None:
    import orjson

    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return value if is_list else None


def triple_instances(path: Path) -> Counter[str]:
    """How many training rows there are about each instance.

    Raises AuditError for a file that is no Parquet or has no column `instance_id`.
    """
    import pyarrow
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    counted: Counter[str] = Counter()
    try:
        with pq.ParquetFile(path) as file:
            if "instance_id" not in file.schema_arrow.names:
                raise AuditError(f"{path}: no column instance_id; expected training rows")
            for batch in file.iter_batches(columns=["instance_id"]):
                for one in pc.value_counts(batch.column(0)).to_pylist():
                    counted[str(one["values"])] += one["counts"]
    except (pyarrow.ArrowException, OSError) as error:
        raise AuditError(f"{path}: no Parquet file: {error}") from None
    return counted


def used_instances(inputs: AuditInputs) -> dict[str, str]:
    """The instances that PI records and training rows are about, with the first file of each."""
    from harness.leakage.pi_records import read_pi

    used: dict[str, str] = {}
    for path in inputs.pi:
        for number, record in read_pi(path):
            used.setdefault(record.instance_id, f"{path}:{number}")
    for path in inputs.triples:
        for instance_id in triple_instances(path):
            used.setdefault(instance_id, str(path))
    return used
