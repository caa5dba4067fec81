"""Files of triples as `harness datagen triples` writes them, of made-up states and actions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from harness.datagen.triples_rows import TripleRow, triple_writer
from tests.trainers.tiny import byte_tokenizer

TOKENIZER = byte_tokenizer()


def ids_of(text: str) -> list[int]:
    """A token for each byte, special tokens too."""
    alphabet: list[int] = TOKENIZER(text, split_special_tokens=True)["input_ids"]
    assert len(alphabet) == len(text.encode())
    return alphabet


def text_of(ids: Sequence[int] | NDArray[np.int32]) -> str:
    """The inverse."""
    return str(TOKENIZER.decode(ids))


def triple(number: int, **changes: Any) -> TripleRow:
    """A state of random bytes, and an answer `ok <action>` of a token a byte."""
    prompt = np.random.default_rng(number).integers(0, 256, 5 + number % 7).tolist()
    completion = f"ok <{'abc'[number % 3]}>"
    values: dict[str, Any] = {
        "id": f"{number:064x}",
        "instance_id": f"owner__repo-{number % 3}",
        "repo": "owner/repo",
        "base_commit": "0",
        "run": "teacher",
        "seed": 0,
        "turn": number + 1,
        "pi_source": "call_graph",
        "pi_tier": "deployable",
        "pi_state": "given",
        "pi_text": f"f{number} -> g",
        "pi_tokens": 3,
        "state": "{}",
        "prompt_ids": prompt,
        "completion": completion,
        "protocol": "function",
        "action_start": 3,
        "action_end": len(completion),
        "completion_ids": [*ids_of(completion), 257],
        "action_token_start": 3,
        "action_token_end": len(completion),
        "ids_from": "endpoint",
        "rewritten": False,
        "alignment": "exact",
        "similarity": 1.0,
        "tool": "edit",
        "path": "a.py",
        "hunks": [0],
        "edited": [],
    }
    return cast(TripleRow, values | changes)


def ten_triples(source: str = "call_graph") -> list[TripleRow]:
    """Four of ten without PI."""
    blank = {"pi_text": "", "pi_state": "blanked"}
    return [
        triple(number, pi_source=source, **(blank if number % 5 < 2 else {}))
        for number in range(10)
    ]


def write_triples(path: Path, rows: Sequence[TripleRow], tokenizer: str | None) -> Path:
    """A file; `tokenizer` is the SHA-256 of a `tokenizer.json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = None if tokenizer is None else f"sha256:{tokenizer}"
    with triple_writer(path, {"pi_source": "call_graph", "tokenizer": named}) as writer:
        for row in rows:
            writer.add(row)
    return path
