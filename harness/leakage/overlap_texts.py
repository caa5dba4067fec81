"""What a student was shown and what it wrote, in order, from an attempt's files."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

MAX_LINE = 64 * 1024 * 1024
_SHOWN = ("system", "user", "observation")
_WRITTEN = ("assistant", "action")


class Text(NamedTuple):
    """A piece of a conversation."""

    written: bool  # by the student; else shown to it
    first: bool  # before the student wrote anything
    where: str  # file and position, relative to the attempt
    text: str


def conversation(attempt: Path) -> Iterator[Text]:
    """The texts of an attempt: of its model calls, else of its events; repeated ones once.

    Everything in a request counts as shown, whatever its role, and only answers as written.
    Raises ValueError when a file is not readable, FileNotFoundError when there is none.
    """
    calls, events = attempt / "calls.parquet", attempt / "events.jsonl"
    if calls.is_file():
        yield from _calls(calls)
    elif events.is_file():
        yield from _events(events)
    else:
        raise FileNotFoundError(f"{attempt}: neither calls.parquet nor events.jsonl")


def _calls(path: Path) -> Iterator[Text]:
    import pyarrow
    import pyarrow.parquet as pq

    seen: set[bytes] = set()
    first = True
    try:
        with pq.ParquetFile(path) as file:
            columns = ["call", "request", "response"]
            for batch in file.iter_batches(batch_size=8, columns=columns):
                for row in batch.to_pylist():
                    where = f"{path.name}: call {row['call']}"
                    for text in _new(row["request"], seen):
                        yield Text(False, first, where, text)
                    for text in _strings(_parsed(row["response"])):
                        first = False
                        yield Text(True, first, where, text)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: {error}") from None


def _new(request: str | None, seen: set[bytes]) -> Iterator[str]:
    """The texts of a request's messages, tools and prompt that no earlier request had."""
    parsed = _parsed(request)
    if not isinstance(parsed, dict):
        parsed = {"prompt": parsed}
    messages = parsed.get("messages")
    parts = list(messages) if isinstance(messages, list) else [messages]
    for part in (*parts, parsed.get("tools"), parsed.get("prompt")):
        if part is None:
            continue
        texts = list(_strings(part))
        whole = "\0".join(texts).encode(errors="surrogatepass")
        digest = hashlib.blake2b(whole, digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            yield from texts


def _parsed(text: str | None) -> Any:
    """JSON, or the text itself where it is none."""
    if not text:
        return None
    try:
        return _loads(text)
    except (ValueError, RecursionError):
        return text


def _loads(text: str | bytes) -> Any:
    """JSON, lone surrogates included, which a model may write."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, in order; short ones name roles and types."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            stack.extend(reversed(one.values()))
        elif isinstance(one, list):
            stack.extend(reversed(one))


def _events(path: Path) -> Iterator[Text]:
    first = True
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=1):
            if not line.strip():
                continue
            try:
                event = _loads(line)
                kind, text = event["kind"], event["text"]
            except (ValueError, RecursionError, KeyError, TypeError):
                raise ValueError(f"{path}: line {number} is no event") from None
            if kind in _WRITTEN:
                first = False
            if kind in _SHOWN + _WRITTEN and isinstance(text, str):
                yield Text(kind in _WRITTEN, first, f"{path.name}:{number}", text)
