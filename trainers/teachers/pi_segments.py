"""Continuations drawn from a teacher with PI: composed at every token, behind kept keys and values.

Shapes: R rows (the base and each source's), B continuations, T tokens of the longest row, D hidden
size.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from trainers.segments.continuation import Cache, Run, Starts, sample
from trainers.segments.local import run_of, split, stop_ids
from trainers.segments.prefixes import Prefix
from trainers.segments.sampling import Place, Segments, uniforms
from trainers.teachers.compose import compose_logits
from trainers.teachers.pi_adapters import AdapterNetwork, Read


@torch.no_grad()
def continue_places(
    adapted: AdapterNetwork,
    places: Sequence[Place],
    reads: Sequence[Sequence[Read]],
    count: int,
    length: int,
    seed: int,
) -> list[Segments]:
    """`count` continuations of each place. reads: of its trajectory, the base's first, with keys
    and values; those with PI at the place are composed with the base."""
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for number, (place, known) in enumerate(zip(places, reads, strict=True)):
        token = _token(place)
        rows = tuple(k for k, read in enumerate(known) if token in read.row.tokens)
        groups.setdefault((place.trajectory.name, rows), []).append(number)
    found: dict[int, Segments] = {}
    for (_, rows), numbers in groups.items():
        chosen = [reads[numbers[0]][row] for row in rows]
        some = [places[number] for number in numbers]
        drawn = _sample(adapted, some, chosen, count, length, seed)
        found |= dict(zip(numbers, drawn, strict=True))
    return [found[number] for number in range(len(places))]


def _sample(
    adapted: AdapterNetwork,
    places: Sequence[Place],
    reads: Sequence[Read],
    count: int,
    length: int,
    seed: int,
) -> list[Segments]:
    """Of places of one trajectory at which the same rows are read."""
    network = adapted.network
    head = network.head[: network.vocabulary]
    tokens = [_token(place) for place in places]
    states = torch.tensor(
        [
            [int(read.row.states[np.searchsorted(read.row.tokens, one)]) for one in tokens]
            for read in reads
        ],
        device=head.device,
    ).repeat_interleave(count, dim=1)
    last = torch.tensor(
        [int(place.trajectory.ids[place.state]) for place in places], device=head.device
    ).repeat_interleave(count)
    starts = Starts(torch.zeros_like(states), states, last)
    at = torch.cat([uniforms(place, count, length, seed) for place in places])
    with adapted.adapters([read.row.adapter for read in reads]):
        run = _composed(run_of(network))
        found = sample(run, _stack(reads), starts, head, at, stop_ids(network))
    return split(found, count)


def _composed(run: Run) -> Run:
    """A pass that gives all rows the state that they make together."""

    def composed(ids: Tensor, positions: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        base, *others = run(ids, positions, mask, cache)
        return compose_logits(base, others).expand(len(others) + 1, -1, -1)

    return composed


def _stack(reads: Sequence[Read]) -> Prefix:
    """Rows of one prefix, padded to the longest."""
    longest = max(read.prefix.length for read in reads)
    found = Prefix()
    for layer in zip(*(read.prefix.layers for read in reads), strict=True):
        keys, values = (
            torch.cat([pad(one, (0, 0, 0, longest - one.shape[2])) for one in each])
            for each in zip(*layer, strict=True)
        )
        found.layers.append((keys, values))
    return found


def _token(place: Place) -> int:
    """Which of the trajectory's sampled tokens follows a place."""
    return int(np.searchsorted(place.trajectory.positions, place.state + 1))
