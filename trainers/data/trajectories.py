"""Trajectories: token sequences in which a model sampled some of the tokens.

Shapes: T tokens of a trajectory, N the sampled ones among them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Author = Literal["student", "teacher"]


class Turn(NamedTuple):
    """Tokens `start` to `end` (exclusive), sampled at one temperature and top-p.

    number: of the agent's turn, as `calls.parquet` has it.
    """

    start: int
    end: int
    temperature: float
    top_p: float
    number: int = 0


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One token sequence of an attempt, with everything that a loss may ask for.

    group: what is compared in group-relative methods: the instance. ids: `(T,)`. log_probs: `(T,)`,
    the author's own at temperature 1 with nothing cut off; NaN where none was recorded. outcome: R,
    1 for a resolved attempt; none: not graded. advantage: of every sampled token.
    """

    name: str
    group: str
    author: Author
    ids: Ids
    turns: tuple[Turn, ...]
    log_probs: NDArray[np.float32]
    outcome: int | None = None
    advantage: float = 0.0

    @property
    def positions(self) -> NDArray[np.int64]:
        """Where the sampled tokens stand, `(N,)`; the state before each is one to its left."""
        ranges = [np.arange(turn.start, turn.end) for turn in self.turns]
        return np.concatenate(ranges) if ranges else np.empty(0, np.int64)

    @property
    def sampled_tokens(self) -> int:
        """N."""
        return sum(turn.end - turn.start for turn in self.turns)

    @property
    def sha256(self) -> str:
        """Digest of everything that training reads but the advantage."""
        digest = hashlib.sha256(f"{self.name}\n{self.group}\n{self.author}\n".encode())
        digest.update(f"{self.turns}\n{self.outcome}\n".encode())
        digest.update(self.ids.astype("<i4").tobytes() + self.log_probs.astype("<f4").tobytes())
        return digest.hexdigest()


class Call(NamedTuple):
    """The part of a row of `calls.parquet` that trajectories are made of."""

    prompt_ids: Sequence[int]
    sampled_ids: Sequence[int]
    logprobs: Sequence[float]
    temperature: float
    top_p: float
    turn: int = 0


class Tokens(NamedTuple):
    """A token sequence with its turns and log-probabilities; see `Trajectory`."""

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


def cut(tokens: Tokens, length: int) -> Tokens:
    """The first `length` tokens."""
    turns = tuple(
        turn._replace(end=min(turn.end, length)) for turn in tokens.turns if turn.start < length
    )
    return Tokens(tokens.ids[:length], turns, tokens.log_probs[:length])
