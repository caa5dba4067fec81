"""The rows of PI adapter training and their Parquet files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from harness.datagen.row_writer import METADATA_KEY, RowWriter

SCHEMA_VERSION = 1


class TripleRow(TypedDict):
    """One triple (state, PI text, expert action); `FIELDS` explains the columns."""

    id: str
    instance_id: str
    repo: str
    base_commit: str
    run: str
    seed: int
    turn: int
    pi_source: str
    pi_tier: str
    pi_state: str
    pi_text: str
    pi_tokens: int
    state: str
    prompt_ids: list[int]
    completion: str
    protocol: str
    action_start: int
    action_end: int
    completion_ids: list[int]
    action_token_start: int | None
    action_token_end: int | None
    ids_from: str
    rewritten: bool
    alignment: str
    similarity: float
    tool: str
    path: str
    hunks: list[int]
    edited: list[str]


FIELDS: dict[str, str] = {
    "id": "SHA-256 of run, instance, seed, turn and call; the same for all sources.",
    "instance_id": "The training instance.",
    "repo": "Its repository.",
    "base_commit": "Its commit.",
    "run": "Name of the run that the trajectory is of.",
    "seed": "Of the attempt.",
    "turn": "The model call that is the action, from 1; the state is before it.",
    "pi_source": "The PI source.",
    "pi_tier": "`deployable` or `oracle`.",
    "pi_state": "`given`; `empty`: the source has none here; `blanked`: taken away by the share.",
    "pi_text": "The PI; empty unless `pi_state` is `given`.",
    "pi_tokens": "Of `pi_text`, as the record's tokenizer counts.",
    "state": "JSON of the chat request: `messages` and `tools`, as the endpoint got them.",
    "prompt_ids": "The state's token ids; empty where `ids_from` is `none`.",
    "completion": "The model's turn up to the end of the action. Only the action is a target.",
    "protocol": "`native`: calls rendered as `<tool_call>` JSON; `function`, `fence`: as written; "
    "`repair`: a choice and `<end>`.",
    "action_start": "First character of the action in `completion`.",
    "action_end": "Character after the action.",
    "completion_ids": "Sampled ids of the turn; empty for a rewritten action or without ids.",
    "action_token_start": "First token of the action in `completion_ids`; null where not known.",
    "action_token_end": "Token after the action; null where not known.",
    "ids_from": "`endpoint`, `retokenised` or `none`, as in `calls.parquet`.",
    "rewritten": "Whether the action is the agent's call with the gold hunks' content.",
    "alignment": "`exact`, `region`, `content`, `literal`: how the emitted call meets the gold "
    "patch.",
    "similarity": "Of the emitted call to the hunks, 0 to 1.",
    "tool": "The tool that is called.",
    "path": "The gold file.",
    "hunks": "Numbers of the gold hunks, from 0 over the whole gold patch.",
    "edited": "Files whose edits are in effect in this state.",
}


def schema() -> Any:
    """The Arrow schema of the rows."""
    import pyarrow as pa

    text, ids, number = pa.string(), pa.list_(pa.int32()), pa.int32()
    kinds = {
        "seed": number,
        "turn": number,
        "pi_tokens": number,
        "prompt_ids": ids,
        "completion_ids": ids,
        "action_start": number,
        "action_end": number,
        "action_token_start": number,
        "action_token_end": number,
        "rewritten": pa.bool_(),
        "similarity": pa.float64(),
        "hunks": ids,
        "edited": pa.list_(text),
    }
    return pa.schema([pa.field(name, kinds.get(name, text)) for name in FIELDS])


def triple_writer(path: Path, metadata: Mapping[str, Any]) -> RowWriter:
    """Writes rows of one source."""
    return RowWriter(path, schema(), {"schema_version": SCHEMA_VERSION, **metadata})


def read_metadata(path: Path) -> dict[str, Any]:
    """What a file of triples says about its making. Raises ValueError when it is none."""
    import pyarrow.parquet as pq

    found = (pq.read_schema(path).metadata or {}).get(METADATA_KEY)
    if found is None:
        raise ValueError(f"{path}: no file of triples: its schema has no {METADATA_KEY.decode()}")
    value: dict[str, Any] = json.loads(found)
    return value
