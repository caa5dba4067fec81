"""The token sequences of an attempt: its model calls, joined as training reads them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


class Turn(NamedTuple):
    """Tokens `start` to `end` (exclusive), sampled at one temperature and top-p.

    number: of the agent's turn, as `calls.parquet` has it.
    """

    start: int
    end: int
    temperature: float
    top_p: float
    number: int = 0


class Call(NamedTuple):
    """The part of a row of `calls.parquet` that sequences are made of."""

    prompt_ids: Sequence[int]
    sampled_ids: Sequence[int]
    logprobs: Sequence[float]
    temperature: float
    top_p: float
    turn: int = 0


class Tokens(NamedTuple):
    """A token sequence with its turns, and the log-probability of each sampled token; NaN where
    none was recorded and at all other tokens."""

    ids: Ids
    turns: tuple[Turn, ...]
    log_probs: NDArray[np.float32]


def merge_calls(calls: Iterable[Call]) -> list[Tokens]:
    """Join each call to the one before it whose prompt and answer its own prompt begins with.

    A conversation thus costs one sequence. Where a chat template, a condenser or a re-tokenisation
    has changed what came before, a new sequence begins, so that each sampled token keeps exactly
    the prefix that it was sampled after. A token without any prefix is left out.
    """
    merged: list[Tokens] = []
    for call in calls:
        prompt = np.asarray(call.prompt_ids, np.int32)
        sampled = np.asarray(call.sampled_ids, np.int32)
        recorded = np.full(len(sampled), np.nan, np.float32)
        if len(call.logprobs):
            recorded[:] = call.logprobs
        before = Tokens(np.empty(0, np.int32), (), np.empty(0, np.float32))
        if merged and np.array_equal(prompt[: len(merged[-1].ids)], merged[-1].ids):
            before = merged.pop()
        new = prompt[len(before.ids) :]
        ids = np.concatenate([before.ids, new, sampled])
        start = min(max(len(prompt), 1), len(ids))
        turn = Turn(start, len(ids), call.temperature, call.top_p, call.turn)
        unsampled = np.full(len(new), np.nan, np.float32)
        log_probs = np.concatenate([before.log_probs, unsampled, recorded])
        merged.append(Tokens(ids, (*before.turns, turn), log_probs))
    return merged
