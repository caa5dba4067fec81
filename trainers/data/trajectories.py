"""Trajectories: token sequences in which a model sampled some of the tokens.

Shapes: T tokens of a trajectory, N the sampled ones among them.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.records.sequences import Ids, Tokens, Turn

__all__ = ["Author", "Ids", "Trajectory", "Turn", "cut"]

Author = Literal["student", "teacher"]


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


def cut(tokens: Tokens, length: int) -> Tokens:
    """The first `length` tokens."""
    turns = tuple(
        turn._replace(end=min(turn.end, length)) for turn in tokens.turns if turn.start < length
    )
    return Tokens(tokens.ids[:length], turns, tokens.log_probs[:length])
