"""Files of PI contexts."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.data.contexts import COLUMNS

Row = tuple[str, str, int, int, str, str]


def write_contexts(path: Path, rows: Iterable[Row]) -> Path:
    """A file of rows: run, instance, seed, turn, source, text."""
    pq.write_table(
        pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows]), path
    )
    return path
