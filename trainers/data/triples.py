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
    card, by path: digest, rows, rows without PI, and the file's own account of its making.
    """

    trajectories: list[Trajectory] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    tokenizers: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)

    @property
    def empty_share(self) -> float:
        """The share of rows without PI."""
        rows = sum(int(one["rows"]) for one in self.files.values())
        return sum(int(one["empty"]) for one in self.files.values()) / max(1, rows)


def read_triples(
    files: Sequence[Path], tokenizer: Any, *, max_tokens: int, empty_block: bool
) -> Triples:
    """What `harness datagen triples` wrote: PI in front of the state, loss on the action alone.

    tokenizer: of the model that is trained. empty_block: rows without PI get the block with nothing
    in it, the no-PI token; otherwise no block. Left out, and counted: rows with more than
    `max_tokens`. An action that was rewritten has no recorded tokens and gets those of its text.

    Raises DataError, naming the file, for one that cannot be read, has no tokens, or says of its
    rows what is not so.
    """
    data = Triples()
    names: set[str] = set()
    for path in files:
        metadata = _metadata(path)
        _check_tokenizer(path, metadata)
        data.tokenizers[str(path)] = str(metadata["tokenizer"]).removeprefix("sha256:")
        rows = empty = 0
        for row in _rows(path):
            rows += 1
            empty += not row["pi_text"]
            data.sources.add(row["pi_source"])
            one = _trajectory(path, row, tokenizer, empty_block=empty_block)
            if len(one.ids) > max_tokens:
                data.counts["triples left out: longer than max_tokens"] += 1
                continue
            if one.name in names:
                raise DataError(f"{path}: row {row['id']} is there twice: give each file once")
            names.add(one.name)
            data.trajectories.append(one)
            data.counts["actions of rewritten calls"] += row["rewritten"]
        data.counts["triples without PI"] += empty
        data.files[str(path)] = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": rows,
            "empty": empty,
            **{key: metadata.get(key) for key in _PROVENANCE},
        }
    return data


def _trajectory(
    path: Path, row: Mapping[str, Any], tokenizer: Any, *, empty_block: bool
) -> Trajectory:
    prompt = np.asarray(row["prompt_ids"], np.int32)
    if not len(prompt):
        raise DataError(
            f"{path}: row {row['id']} has no token ids of its state: roll out with an endpoint "
            "that returns token ids, and make the triples again"
        )
    completion, start, end = _action(path, row, tokenizer)
    text = row["pi_text"]
    block = pi_block(tokenizer, text) if text or empty_block else []
    ids = np.concatenate([with_block(prompt, block, tokenizer), completion[:end]])
    first = len(prompt) + len(block)
    return Trajectory(
        name=f"{row['run']}/{row['instance_id']}/{row['seed']}#{row['pi_source']}-{row['id']}",
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


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256, columns=_COLUMNS):
                if absent := [name for name in _COLUMNS if name not in batch.schema.names]:
                    raise KeyError(f"no column {absent[0]!r}")
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(
            f"{path}: not a readable file of triples ({error}): make it again"
        ) from None
