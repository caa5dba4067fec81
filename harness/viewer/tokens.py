"""The tokens of an attempt with what is known of each: log-probability, gates, branch."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.records.sequences import Call, merge_calls
from harness.reports.text import plain
from harness.suites.manifests import manifests_root

_COLUMNS = ["turn", "purpose", "status", "prompt_ids", "sampled_ids", "logprobs"]
_COLUMNS += ["temperature", "top_p"]
_LEDGER = ["step", "trajectory", "token", "cell", "rho", "kappa", "teacher_entropy", "tv", "kl"]
_LARGEST = 256 << 20  # bytes of the columns, as they are when read
_MOST = 20_000  # tokens of a sequence that are shown, the last ones
_BEFORE = 400  # tokens of a prompt in front of what was sampled

Numbers = Mapping[int, dict[str, Any]]


def attempt_tokens(
    calls: Path, name: str, ledger: Path | None, tokenizer: Path | None
) -> list[dict[str, Any]]:
    """The sequences of `calls.parquet`, as training reads them.

    name: run id, instance and seed, as a ledger names trajectories. A token has `text` (its id
    where no tokeniser is at hand), `sampled`, `log_prob` and the ledger's last figures on it.
    """
    import pyarrow.parquet as pq

    about = pq.read_metadata(calls)
    size = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if max(size, calls.stat().st_size) > _LARGEST:
        raise ValueError(f"{calls.name}: {size:,} bytes, more than {_LARGEST:,}: not read")
    rows = [
        row
        for row in pq.read_table(calls, columns=_COLUMNS).to_pylist()
        if row["turn"] is not None and row["status"] == "answered" and row["purpose"] == "agent"
    ]
    sequences = merge_calls(
        Call(
            row["prompt_ids"] or (),
            row["sampled_ids"] or (),
            row["logprobs"] or (),
            row["temperature"] or 0.0,
            row["top_p"] or 0.0,
            row["turn"],
        )
        for row in rows
    )
    texts = _texts(tokenizer)
    found = []
    for number, one in enumerate(sequences):
        known = _decisions(ledger, f"{name}#{number}") if ledger else {}
        turns = {place: turn.number for turn in one.turns for place in range(turn.start, turn.end)}
        first = max(0, min(turns, default=0) - _BEFORE, len(one.ids) - _MOST)
        found.append(
            {
                "left_out": first,
                "tokens": [
                    {
                        "text": plain(texts(int(one.ids[place]))),
                        "turn": turns.get(place),
                        "log_prob": _number(float(one.log_probs[place])),
                        **known.get(place, {}),
                    }
                    for place in range(first, len(one.ids))
                ],
            }
        )
    return found


def shipped_tokenizer(model: str) -> Path | None:
    """The tokeniser of a shipped model."""
    known = {path.parent.name: path for path in manifests_root().glob("models/*/tokenizer.json")}
    return known.get(model)


def find_ledgers(path: Path) -> dict[str, Path]:
    """A training's ledger, or those of all trainings in a folder, by the training's name.

    Raises FileNotFoundError when there is none.
    """
    places = [path, path / "ledger", *sorted(path.glob("*/ledger"))]
    found = {
        (one.parent if one.name == "ledger" else one).resolve().name: one
        for one in places
        if next(one.glob("step-*.parquet"), None)
    }
    if not found:
        raise FileNotFoundError(f"{path}: no step-*.parquet there, in ledger or in */ledger")
    return found


def _decisions(ledger: Path, trajectory: str) -> Numbers:
    """The last row of a CHOP training's ledger on each token of a trajectory."""
    import pyarrow.dataset as ds

    files = sorted(str(path) for path in ledger.glob("step-*.parquet"))
    if not files:
        return {}
    table = ds.dataset(files).to_table(columns=_LEDGER, filter=ds.field("trajectory") == trajectory)
    rows: Sequence[dict[str, Any]] = sorted(table.to_pylist(), key=lambda row: row["step"])
    return {
        row["token"]: {
            key: _number(value) if isinstance(value, float) else value
            for key, value in row.items()
            if key not in ("trajectory", "token")
        }
        for row in rows
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _texts(tokenizer: Path | None) -> Any:
    return _decoder(tokenizer) if tokenizer else lambda number: f"{number} "


@lru_cache(maxsize=4)
def _decoder(path: Path) -> Any:
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(path))

    @lru_cache(maxsize=100_000)
    def text(number: int) -> str:
        return str(found.decode([number], skip_special_tokens=False))

    return text
