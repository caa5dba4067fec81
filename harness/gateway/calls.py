"""`calls.parquet`: every model call of an attempt, token by token.

One row for each call, in the order in which they ended:

| column | meaning |
|---|---|
| call | number of the call, from 1, in the order of arrival |
| turn | number of the agent's turn that it is, from 1; null for a call that is none |
| purpose | `agent`, or what the client's header `X-Harness-Purpose` says |
| status | `answered`; `refused` by the gateway; `rejected` by the endpoint as wrong; `failed`: no \
usable answer after retries; `cut`: the stream broke after its beginning was passed on; \
`cancelled`: the client left, or the attempt ended |
| http_status | the status that the client got; null when it got none |
| error | what went wrong; empty for an answered call |
| started_at, seconds | arrival (UTC) and duration, retries and pauses included |
| first_byte_seconds | until the endpoint's answer began; null without one |
| retries | requests to the endpoint beyond the first |
| streamed | whether the client asked for a stream |
| finish_reason, stop_reason | the endpoint's; the second is vLLM's stop string or token id |
| prompt_ids, sampled_ids | token ids; empty where `ids_from` is `none` |
| mask | over prompt_ids + sampled_ids: true exactly for the sampled ones |
| logprobs | of the sampled ids, as the endpoint gives them (vLLM and the embedded server: of the \
model at temperature 1, nothing cut off); else empty |
| ids_from | `endpoint`: its own ids; `retokenised`: made from the messages by its tokeniser, the \
sampled ones from the answer's text, so they may differ from what was sampled; `none` |
| prompt_tokens, cached_tokens, generated_tokens | the endpoint's counts, else those of the ids |
| temperature, top_p, max_tokens, seed | decoding as sent; null for a call that was not sent |
| tools_dropped | tool calls over the budget's number, which the agent did not see |
| overridden | parameters of the client that were left out or changed |
| request | JSON as sent to the endpoint, token-id parameters left out; empty where not sent |
| response | JSON of the answer, all tool calls included, without the ids and log-probs above; a \
stream's is put together; empty without an answer |
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

Status = Literal["answered", "refused", "rejected", "failed", "cut", "cancelled"]
IdsFrom = Literal["endpoint", "retokenised", "none"]

_FLUSH_BYTES = 1024 * 1024
_YIELD_SECONDS = 1e-4  # again and again the event loop gets the interpreter


@dataclass(slots=True)
class CallRow:
    """A row of `calls.parquet`, but for its mask; the module says what the fields mean.

    `prompt_ids` may be bytes until it is written: the ids as text, with commas between them.
    """

    call: int
    purpose: str
    started_at: datetime
    turn: int | None = None
    status: Status = "cancelled"
    http_status: int | None = None
    error: str = ""
    seconds: float = 0.0
    first_byte_seconds: float | None = None
    retries: int = 0
    streamed: bool = False
    finish_reason: str | None = None
    stop_reason: str | None = None
    prompt_ids: Sequence[int] = ()
    sampled_ids: Sequence[int] = ()
    logprobs: Sequence[float] = ()
    ids_from: IdsFrom = "none"
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    tools_dropped: int = 0
    overridden: list[str] = field(default_factory=list)
    request: bytes = b""
    response: bytes = b""

    @property
    def nbytes(self) -> int:
        """Bytes that the row's large fields take in memory."""
        numbers = len(self.sampled_ids) + len(self.logprobs)
        prompt = len(self.prompt_ids) * (1 if isinstance(self.prompt_ids, bytes) else 4)
        return prompt + 4 * numbers + len(self.request) + len(self.response) + 1024


class CallWriter:
    """Writes rows in groups on another thread. `add` is for one thread alone.

    The file is readable after `close`.
    """

    def __init__(self, path: Path, executor: Executor) -> None:
        self._path = path
        self._executor = executor
        self._rows: list[CallRow] = []
        self._bytes = 0
        self._file: Any = None
        self.error: Exception | None = None

    def add(self, row: CallRow) -> None:
        """Take a row, to be written with others."""
        self._rows.append(row)
        self._bytes += row.nbytes
        if self._bytes >= _FLUSH_BYTES:
            self._flush()

    def close(self) -> Future[None]:
        """Write what is left and finish the file; done when the future is."""
        self._flush()
        return self._executor.submit(self._finish)

    def _flush(self) -> None:
        rows, self._rows, self._bytes = self._rows, [], 0
        self._executor.submit(self._write, rows)

    def _write(self, rows: list[CallRow]) -> None:
        import pyarrow.parquet as pq

        if self.error is not None:
            return
        try:
            if self._file is None:
                self._file = pq.ParquetWriter(
                    self._path,
                    schema(),
                    compression="zstd",
                    use_dictionary=_DICTIONARY,
                    write_statistics=False,
                )
            self._file.write_table(_table(rows))
        except Exception as error:  # the attempt ends with it: a record with holes is none
            self.error = error

    def _finish(self) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except Exception as error:
            self.error = self.error or error


def read_calls(path: Path) -> Iterator[CallRow]:
    """The rows of a `calls.parquet`, read group by group."""
    import pyarrow.parquet as pq

    names = [column.name for column in fields(CallRow)]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=names):
            for row in batch.to_pylist():
                for name in ("request", "response"):
                    row[name] = row[name].encode()
                yield CallRow(**row)


def warm_up() -> None:
    """Do what would make the first rows slow: import what writes them."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(_table([]), pyarrow.BufferOutputStream())


@cache
def schema() -> Any:
    """The Arrow schema of `calls.parquet`."""
    import pyarrow as pa

    ids, text = pa.list_(pa.int32()), pa.string()
    return pa.schema(
        {
            "call": pa.int32(),
            "turn": pa.int32(),
            "purpose": text,
            "status": text,
            "http_status": pa.int16(),
            "error": text,
            "started_at": pa.timestamp("us", tz="UTC"),
            "seconds": pa.float64(),
            "first_byte_seconds": pa.float64(),
            "retries": pa.int32(),
            "streamed": pa.bool_(),
            "finish_reason": text,
            "stop_reason": text,
            "prompt_ids": ids,
            "sampled_ids": ids,
            "mask": pa.list_(pa.bool_()),
            "logprobs": pa.list_(pa.float32()),
            "ids_from": text,
            "prompt_tokens": pa.int64(),
            "cached_tokens": pa.int64(),
            "generated_tokens": pa.int64(),
            "temperature": pa.float64(),
            "top_p": pa.float64(),
            "max_tokens": pa.int32(),
            "seed": pa.int64(),
            "tools_dropped": pa.int32(),
            "overridden": pa.list_(text),
            "request": text,
            "response": text,
        }
    )


_DICTIONARY = ["purpose", "status", "ids_from", "finish_reason"]


def _table(rows: list[CallRow]) -> Any:
    import numpy as np
    import pyarrow as pa

    def lists(parts: list[Any], kind: Any) -> Any:
        ends = np.cumsum([0, *map(len, parts)], dtype=np.int32)
        values = np.concatenate(parts) if parts else np.empty(0, np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(values, kind))

    prompts = []
    for row in rows:
        prompts.append(_ids(row.prompt_ids))
        time.sleep(_YIELD_SECONDS)
    special = {
        "prompt_ids": prompts,
        "sampled_ids": [np.asarray(row.sampled_ids, np.int32) for row in rows],
        "logprobs": [np.asarray(row.logprobs, np.float32) for row in rows],
        "mask": [
            np.repeat([False, True], [len(prompt), len(row.sampled_ids)])
            for prompt, row in zip(prompts, rows, strict=True)
        ],
    }
    columns = []
    for column in schema():
        if column.name in special:
            columns.append(lists(special[column.name], column.type.value_type))
        else:
            values = [getattr(row, column.name) for row in rows]
            columns.append(pa.array(values, column.type))
        time.sleep(_YIELD_SECONDS)
    return pa.table(columns, schema=schema())


def _ids(ids: Sequence[int]) -> Any:
    import numpy as np

    if not isinstance(ids, bytes):
        return np.asarray(ids, np.int32)
    try:
        wide = np.fromstring(ids, np.int64, sep=",")
    except ValueError:
        wide = np.empty(0, np.int64)
    if len(wide) != ids.count(b",") + 1 or wide.max() > np.iinfo(np.int32).max:
        raise ValueError("the endpoint's prompt_token_ids are no list of 32-bit numbers")
    return wide.astype(np.int32)
