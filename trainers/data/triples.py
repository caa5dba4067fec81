"""From the rows that PI adapters are trained on to trajectories whose only sampled span is the
action."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainers.data.contexts import encode_text, pi_block, with_block
from trainers.data.errors import DataError
from trainers.data.trajectories import Trajectory, Turn

METADATA_KEY = b"swe_harness"
_PROVENANCE = ("schema_version", "tokenizer", "pi_sha256", "gate", "runs")
_COLUMNS = [
    "id",
    "instance_id",
    "run",
    "seed",
    "turn",
    "pi_source",
    "pi_text",
    "prompt_ids",
    "completion",
    "action_start",
    "completion_ids",
    "action_token_start",
    "action_token_end",
    "rewritten",
]


@dataclass
class Triples:
    """Trajectories of files of triples, what was counted on the way, and where they come from.

    tokenizers: file to SHA-256 of the tokeniser that its spans were found with. files: for the
    card, by path: digest, rows, and the file's own account of its making. rows, empty: triples,
    and those without PI.
    """

    trajectories: list[Trajectory] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    tokenizers: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    rows: int = 0
    empty: int = 0

    @property
    def empty_share(self) -> float:
        """The share of rows without PI."""
        return self.empty / max(1, self.rows)


def read_triples(
    files: Sequence[Path],
    tokenizer: Any,
    *,
    max_tokens: int,
    empty_block: bool,
    union: bool = False,
) -> Triples:
    """What `harness datagen triples` wrote: PI in front of the state, loss on the action alone.

    tokenizer: of the model that is trained. empty_block: rows without PI get the block with nothing
    in it, the no-PI token; otherwise no block. union: the rows of one state in several files are
    one triple, with the blocks of all sources. Left out, and counted: rows with more than
    `max_tokens`. An action that was rewritten has no recorded tokens and gets those of its text.

    Raises DataError, naming the file, for one that cannot be read, has no tokens, or says of its
    rows what is not so.
    """
    data = Triples()
    joint = texts_by_state(files) if union else {}
    nothing = pi_block(tokenizer, "") if empty_block else []
    seen: set[tuple[str, str]] = set()
    for path in files:
        metadata = _metadata(path)
        _check_tokenizer(path, metadata)
        data.tokenizers[str(path)] = str(metadata["tokenizer"]).removeprefix("sha256:")
        rows = 0
        for row in _rows(path, _COLUMNS):
            rows += 1
            data.sources.add(row["pi_source"])
            texts = joint.get(row["id"], {row["pi_source"]: row["pi_text"]})
            key = (row["id"], "+".join(sorted(texts)))
            if key in seen and union:
                continue
            if key in seen:
                raise DataError(f"{path}: row {row['id']} is there twice: give each file once")
            seen.add(key)
            shown = [texts[name] for name in sorted(texts) if texts[name]]
            data.rows += 1
            data.empty += not shown
            block = [one for text in shown for one in pi_block(tokenizer, text)] or nothing
            name = f"{row['run']}/{row['instance_id']}/{row['seed']}#{key[1]}-{row['id']}"
            one = expert_trajectory(path, row, tokenizer, block, name)
            if len(one.ids) > max_tokens:
                data.counts["triples left out: longer than max_tokens"] += 1
                continue
            data.trajectories.append(one)
            data.counts["actions of rewritten calls"] += row["rewritten"]
        data.files[str(path)] = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": rows,
            **{key: metadata.get(key) for key in _PROVENANCE},
        }
    data.counts["triples without PI"] += data.empty
    return data


def texts_by_state(files: Sequence[Path]) -> dict[str, dict[str, str]]:
    """The PI text of each source, by the row's id, which a state has in all files."""
    found: dict[str, dict[str, str]] = {}
    for path in files:
        for row in _rows(path, ["id", "pi_source", "pi_text"]):
            found.setdefault(row["id"], {})[row["pi_source"]] = row["pi_text"]
    return found


def expert_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that says with which tokeniser it was made. Raises DataError."""
    _check_tokenizer(path, _metadata(path))
    yield from _rows(path, _COLUMNS)


def expert_trajectory(
    path: Path, row: Mapping[str, Any], tokenizer: Any, block: Sequence[int], name: str
) -> Trajectory:
    """A row's state and action behind a block of PI; the action is all that was sampled."""
    prompt = np.asarray(row["prompt_ids"], np.int32)
    if not len(prompt):
        raise DataError(
            f"{path}: row {row['id']} has no token ids of its state: roll out with an endpoint "
            "that returns token ids, and make the triples again"
        )
    completion, start, end = _action(path, row, tokenizer)
    ids = np.concatenate([with_block(prompt, block, tokenizer), completion[:end]])
    first = len(prompt) + len(block)
    return Trajectory(
        name=name,
        group=row["instance_id"],
        author="teacher",
        ids=ids,
        turns=(Turn(first + start, first + end, 1.0, 1.0, row["turn"]),),
        log_probs=np.broadcast_to(np.float32(np.nan), len(ids)),
    )


def _action(
    path: Path, row: Mapping[str, Any], tokenizer: Any
) -> tuple[np.typing.NDArray[np.int32], int, int]:
    """Ids of what the model wrote, and the action's place among them."""
    if row["rewritten"]:
        found = encode_text(tokenizer, row["completion"], return_offsets_mapping=True)
        ends = [end for _, end in found["offset_mapping"]]
        start = sum(end <= row["action_start"] for end in ends)
        ids, end = found["input_ids"], len(ends)
    else:
        ids, start, end = (
            row[name] for name in ("completion_ids", "action_token_start", "action_token_end")
        )
        if start is None or end is None or not ids:
            raise DataError(
                f"{path}: row {row['id']} does not say which tokens its action is: make the "
                "triples again with `--tokenizer`, or choose an action protocol whose calls can be "
                "found in the sampled text"
            )
    if not 0 <= start < end <= len(ids):
        raise DataError(
            f"{path}: row {row['id']} has an action of tokens {start} to {end} among {len(ids)}: "
            "the mask would be empty; make the triples again"
        )
    return np.asarray(ids, np.int32), start, end


def _check_tokenizer(path: Path, metadata: Mapping[str, Any]) -> None:
    if not metadata.get("tokenizer"):
        raise DataError(
            f"{path}: was made without a tokeniser, so it has no action tokens: run `harness "
            "datagen triples` again with `--tokenizer` (the model's tokenizer.json)"
        )


def _metadata(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((pq.read_schema(path).metadata or {})[METADATA_KEY])
        if not isinstance(found, dict) or found.get("schema_version") != 1:
            raise ValueError("another schema version than 1")
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: not a file of triples ({error}): give data/<source>.parquet of `harness "
            "datagen triples`"
        ) from None
    return found


def _rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256, columns=columns):
                if absent := [name for name in columns if name not in batch.schema.names]:
                    raise KeyError(f"no column {absent[0]!r}")
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(
            f"{path}: not a readable file of triples ({error}): make it again"
        ) from None
