"""Parquet files of training rows, with what they were made from in their metadata."""

import json
from collections.abc import Mapping, Sized
from pathlib import Path
from types import TracebackType
from typing import Any, Self

METADATA_KEY = b"swe_harness"
_FLUSH_BYTES = 16 * 1024 * 1024


class RowWriter:
    """Writes rows as they come, in groups of some 16 MB; the file is there when all are written."""

    def __init__(self, path: Path, schema: Any, metadata: Mapping[str, Any]) -> None:
        import pyarrow.parquet as pq

        content = json.dumps(metadata, sort_keys=True)
        self._schema = schema.with_metadata({METADATA_KEY: content.encode()})
        self._path = path
        self._draft = path.with_name(f"{path.name}.draft")
        self._file = pq.ParquetWriter(self._draft, self._schema, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
        self._file.close()
        if kind is None:
            self._draft.replace(self._path)
        else:
            self._draft.unlink(missing_ok=True)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row."""
        self._rows.append(row)
        self._bytes += 1024 + sum(
            len(one) if isinstance(one, str) else 4 * len(one)
            for one in row.values()
            if isinstance(one, Sized)
        )
        if self._bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._bytes = [], 0
