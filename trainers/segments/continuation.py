"""Continuations of many states in one go, behind a prefix that is computed once.

All continuations are tokens of one long sequence, each of which sees its own state's past, and its
own continuation so far, through a mask. So the prefix is neither copied nor computed again, and a
gradient reaches it.

Shapes: R rows (a model, or adapters of one), B continuations, T tokens of the prefix, n new tokens,
D hidden size.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from trainers.segments.prefixes import Prefix
from trainers.segments.sampling import Segments, choose


class Run(Protocol):
    """A forward pass: last hidden states `(R, n, D)` of new tokens."""

    def __call__(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: "Cache") -> Tensor:
        """ids, positions: `(R, n)`. mask: `(R, 1, n, T + …)`, true where attention may look."""
        ...


class Cache:
    """What transformers asks of a cache: the keys and values so far, with new ones behind.

    room: for how many more tokens there is to be place; without gradient, they are then written
    behind a single copy of the prefix.
    """

    def __init__(self, prefix: Prefix, room: int = 0) -> None:
        self._ends = [prefix.length] * len(prefix.layers)
        self._room = room

        def with_room(before: Tensor) -> Tensor:
            rows, heads, _, size = before.shape
            return torch.cat([before, before.new_empty(rows, heads, room, size)], 2)

        self._layers = (prefix.map(with_room) if room else prefix).layers

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values `(R, K, n, D)` of a layer; all of them."""
        before = self._layers[layer_idx]
        if not self._room:
            return torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)
        start = self._ends[layer_idx]
        self._ends[layer_idx] = end = start + keys.shape[2]
        before[0][:, :, start:end] = keys
        before[1][:, :, start:end] = values
        return before[0][:, :, :end], before[1][:, :, :end]


class Starts(NamedTuple):
    """Where continuations begin: at token `states` of the sequence from `first`, `(R, B)` each.

    tokens: the ids that stand there, `(B,)`. A prefix may hold several sequences behind one
    another, or padding: what is not between the two is never seen. Positions count from `first`.
    """

    first: Tensor
    states: Tensor
    tokens: Tensor

    def select(self, chosen: slice) -> "Starts":
        """Some of them."""
        return Starts(self.first[:, chosen], self.states[:, chosen], self.tokens[chosen])

    def positions(self, owners: Tensor, offsets: Tensor) -> Tensor:
        """Position ids `(R, n)` of tokens that stand `offsets` behind their owners' states."""
        return self.states[:, owners] - self.first[:, owners] + offsets

    def past(self, owners: Tensor, length: int) -> Tensor:
        """Which of T prefix tokens each new token sees, `(R, n, T)`: those before its state."""
        columns = torch.arange(length, device=owners.device)
        first, states = self.first[:, owners, None], self.states[:, owners, None]
        return (columns >= first) & (columns < states)


@torch.no_grad()
def sample(
    run: Run, prefix: Prefix, starts: Starts, head: Tensor, at: Tensor, stop: Sequence[int]
) -> Segments:
    """Draw a continuation for each start; ids and lengths `(B, L)`, `(B,)`.

    The state's own token is the first that is computed, so that nothing but keys and values has to
    be kept of the pass that made the prefix. With several rows, `run` gives all of them the hidden
    state that they make together. head: `(V, D)`. at: numbers to draw by, `(B, L)` in [0, 1).
    """
    count, length = at.shape
    device = head.device
    ids = torch.zeros(count, length, dtype=torch.int64, device=device)
    lengths = torch.full((count,), length, device=device)
    ends = torch.tensor(list(stop), device=device)
    cache = Cache(prefix.detach(), room=count * length)
    columns = prefix.length
    active = torch.arange(count, device=device)
    owners = torch.empty(0, dtype=torch.int64, device=device)
    tokens = starts.tokens
    for number in range(length):
        owners = torch.cat([owners, active])
        own = (owners == active.unsqueeze(-1)).expand(starts.first.shape[0], -1, -1)
        mask = torch.cat([starts.past(active, columns), own], -1).unsqueeze(1)
        offsets = torch.full_like(active, number)
        rows = tokens.expand(starts.first.shape[0], -1)
        hidden = run(rows, starts.positions(active, offsets), mask, cache)[0]
        tokens = choose(hidden.to(head.dtype) @ head.T, at[active.cpu(), number])
        ids[active, number] = tokens
        ended = torch.isin(tokens, ends)
        lengths[active[ended]] = number + 1
        active, tokens = active[~ended], tokens[~ended]
        if not len(active):
            break
    return Segments(ids, lengths)


class Followed(NamedTuple):
    """Hidden states `(R, n, D)` of given continuations, each led by that of its state.

    owners: whose they are, `(n,)`. offsets: how far behind the state, `(n,)`.
    """

    hidden: Tensor
    owners: Tensor
    offsets: Tensor


def follow(run: Run, prefix: Prefix, starts: Starts, segments: Segments) -> Followed:
    """Run given continuations, all tokens at once."""
    places = torch.arange(segments.ids.shape[1] + 1, device=segments.ids.device)
    there = places <= segments.lengths.unsqueeze(-1)
    owners, offsets = there.nonzero(as_tuple=True)
    ids = torch.cat([starts.tokens.unsqueeze(-1), segments.ids], -1)[there]
    own = (owners == owners.unsqueeze(-1)) & (offsets <= offsets.unsqueeze(-1))
    rows = starts.first.shape[0]
    past = starts.past(owners, prefix.length)
    mask = torch.cat([past, own.expand(rows, -1, -1)], -1).unsqueeze(1)
    positions = starts.positions(owners, offsets)
    return Followed(run(ids.expand(rows, -1), positions, mask, Cache(prefix)), owners, offsets)
