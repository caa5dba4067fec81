"""What gives logits, a chunk of tokens at a time.

Shapes: T tokens, C tokens of a chunk, D hidden size, V vocabulary, K ids that are known of a token.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from trainers.teachers.compose import compose_logits

_LEAST = float(torch.finfo(torch.float32).eps)  # a smaller tail cannot be told from rounding
_TOO_MUCH = 1e-2  # what bfloat16 makes of probabilities


class Source(Protocol):
    """Next-token distributions at T states, of which only a chunk is ever dense."""

    @property
    def vocabulary(self) -> int:
        """V."""
        ...

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """Tensors `(T, …)` that `logits` is given a chunk of."""
        ...

    @property
    def facts(self) -> Mapping[str, Tensor]:
        """Results by name, `(T,)` each, that are worth a mean in the metrics."""
        ...

    def logits(self, *columns: Tensor) -> Tensor:
        """Logits `(C, V)` of a chunk."""
        ...


class Projection(NamedTuple):
    """Last hidden states `(T, D)` and an output embedding `(V, D)`."""

    hidden: Tensor
    head: Tensor

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.head.shape[0]

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """The hidden states."""
        return (self.hidden,)

    @property
    def facts(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    def logits(self, *columns: Tensor) -> Tensor:
        """`hidden @ head.T`."""
        return columns[0] @ self.head.T


class KnownLogProbs(NamedTuple):
    """Log-probabilities of some ids; what is left of the mass is spread over the others evenly.

    ids, log_probs: `(T, K)`; an id may come twice, with one log-probability. floor: `(T,)`,
    log-probability of every other id. tail: `(T,)`, their joint mass.
    """

    ids: Tensor
    log_probs: Tensor
    floor: Tensor
    tail: Tensor
    vocabulary: int

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """What `logits` needs."""
        return self.ids, self.log_probs, self.floor

    @property
    def facts(self) -> Mapping[str, Tensor]:
        """How much of the distribution is made up."""
        return {"tail": self.tail}

    def logits(self, *columns: Tensor) -> Tensor:
        """Log-probabilities; their sum is less than 1 where ids beyond the vocabulary were left."""
        ids, log_probs, floor = columns
        return floor[:, None].repeat(1, self.vocabulary).scatter_(1, ids.long(), log_probs)


class Composed(NamedTuple):
    """A base and what adapters make of it, as one: see `compose_logits`."""

    base: Source
    adapted: Sequence[Source]

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.base.vocabulary

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """Those of all."""
        return tuple(each for source in (self.base, *self.adapted) for each in source.columns)

    @property
    def facts(self) -> Mapping[str, Tensor]:
        """The largest of each name."""
        all_facts = [source.facts for source in (self.base, *self.adapted)]
        names = dict.fromkeys(name for facts in all_facts for name in facts)
        return {
            name: torch.stack([facts[name] for facts in all_facts if name in facts]).amax(0)
            for name in names
        }

    def logits(self, *columns: Tensor) -> Tensor:
        """Log-probabilities: the models' constants, which logits leave open, must not add up."""
        found = []
        for source in (self.base, *self.adapted):
            count = len(source.columns)
            logits = source.logits(*columns[:count])
            found.append(logits.log_softmax(-1, dtype=torch.float32))
            columns = columns[count:]
        return compose_logits(found[0], found[1:])


def known_log_probs(ids: Tensor, log_probs: Tensor, vocabulary: int) -> KnownLogProbs:
    """From each token's known ids and log-probabilities `(T, K)`: the likeliest, perhaps others.

    An entry with an id of -1 is none. Ids beyond the vocabulary count as known, but are left out.
    Raises ValueError for a token of which nothing within the vocabulary is known, or whose known
    probabilities add up to more than 1.
    """
    inside = (ids >= 0) & (ids < vocabulary)
    count = inside.sum(-1)
    mass = log_probs.double().exp().where(ids >= 0, 0).sum(-1)
    wrong = (count == 0) | ~(mass < 1 + _TOO_MUCH)
    if bool(wrong.any()):
        row = int(wrong.int().argmax())
        raise ValueError(
            f"token {row}: {int(count[row])} of {vocabulary} ids are known, and all that is known "
            f"has a probability of {float(mass[row]):.6g}"
        )
    first = inside.int().argmax(-1, keepdim=True)
    ids = ids.where(inside, ids.gather(-1, first))
    log_probs = log_probs.float().where(inside, log_probs.float().gather(-1, first))
    others = vocabulary - count
    tail = (1 - mass).clamp(min=_LEAST).where(others > 0, 0)
    floor = (tail / others.clamp(min=1)).where(others > 0, 1).log()
    return KnownLogProbs(ids, log_probs, floor.float(), tail.float(), vocabulary)
