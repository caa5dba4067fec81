"""Privileged information (PI): its texts by agent turn, and the block of tokens it is shown as."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainers.data.errors import DataError
from trainers.data.trajectories import Ids, Trajectory

COLUMNS = ("run", "instance_id", "seed", "turn", "source", "text")
_NAME = re.compile(r"(?P<run>.+)/(?P<instance>[^/]+)/(?P<seed>\d+)#\d+")
_Attempt = tuple[str, str, int]


def pi_block(tokenizer: Any, text: str) -> list[int]:
    """Ids of `[PI]`, the text and `[/PI]`, a line each; the empty text is the no-PI token.

    Names of the tokeniser's control tokens in the text, such as the end of a turn, become ordinary
    characters: a text cannot end the prompt that it stands in.
    """
    ids: list[int] = encode_text(tokenizer, f"[PI]\n{text}\n[/PI]\n")["input_ids"]
    return ids


def encode_text(tokenizer: Any, text: str, **options: Any) -> Any:
    """A tokeniser's encoding of somebody else's text: its `input_ids` have no control tokens."""
    found = tokenizer(text, add_special_tokens=False, **options)
    if set(found["input_ids"]) & set(tokenizer.all_special_ids):
        found = tokenizer(text, add_special_tokens=False, split_special_tokens=True, **options)
    return found


def with_block(ids: Ids, block: Sequence[int], tokenizer: Any) -> Ids:
    """A prompt `(T,)` with a block of ids in front, behind the beginning-of-sequence token."""
    first = len(ids) > 0 and ids[0] == tokenizer.bos_token_id
    at = 1 if first else 0
    return np.concatenate([ids[:at], np.asarray(block, np.int32), ids[at:]])


class PIContexts:
    """PI texts of attempts' turns; an empty text says that the source has nothing there."""

    def __init__(
        self, texts: dict[_Attempt, dict[tuple[int, str], str]], files: str, *, lenient: bool
    ) -> None:
        self._texts = texts
        self._files = files
        self._lenient = lenient

    def of(self, trajectory: Trajectory, source: str) -> tuple[str, ...]:
        """The text at each turn of a trajectory.

        Raises DataError, naming instance and source, where there is none and absence is not taken
        for emptiness.
        """
        match = _NAME.fullmatch(trajectory.name)
        if match is None:
            raise DataError(f"trajectory {trajectory.name!r} is of no run, so it has no PI")
        attempt = (match["run"], match["instance"], int(match["seed"]))
        known = self._texts.get(attempt, {})
        found = [known.get((turn.number, source)) for turn in trajectory.turns]
        if None in found and not self._lenient:
            turn = trajectory.turns[found.index(None)].number
            raise DataError(
                f"{self._files}: no PI of source {source!r} for instance {attempt[1]} (run "
                f"{attempt[0]}, seed {attempt[2]}, turn {turn}): make the contexts of this run, or "
                "set pi.missing to 'empty' to go without there"
            )
        return tuple(text or "" for text in found)


def read_contexts(
    files: Sequence[Path], sources: Sequence[str], *, lenient: bool = False
) -> PIContexts:
    """Texts of some sources from contexts files: Parquet, a row for run, instance, seed, turn and
    source.

    lenient: no row is the same as an empty text. Raises DataError for files that cannot be read,
    texts that contradict each other, and a source without any row.
    """
    texts: dict[_Attempt, dict[tuple[int, str], str]] = {}
    shared: dict[str, str] = {}
    found: set[str] = set()
    for path in files:
        for row in _rows(path):
            found.add(row["source"])
            if row["source"] not in sources:
                continue
            attempt = (row["run"], row["instance_id"], row["seed"])
            place, text = (row["turn"], row["source"]), row["text"] or ""
            text = shared.setdefault(text, text)
            if texts.setdefault(attempt, {}).setdefault(place, text) != text:
                raise DataError(
                    f"{path}: two texts of {row['source']!r} for instance {attempt[1]}, run "
                    f"{attempt[0]}, seed {attempt[2]}, turn {place[0]}: give each context once"
                )
    names = ", ".join(str(path) for path in files)
    absent = [source for source in sources if source not in found]
    if absent:
        raise DataError(
            f"{names}: no row of source {absent[0]!r} (there are: "
            f"{', '.join(sorted(found)) or 'none'}); make its contexts, or leave it out "
            "of pi.sources"
        )
    return PIContexts(texts, names, lenient=lenient)


def _rows(path: Path) -> Any:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=list(COLUMNS)):
                if missing := [name for name in COLUMNS if name not in batch.schema.names]:
                    raise KeyError(f"no column {missing[0]!r}")
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(
            f"{path}: not a readable file of PI contexts ({error}); make it again"
        ) from None
