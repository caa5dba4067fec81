"""A teacher with privileged information: frozen base, PI adapters, and what they say together.

Shapes: N sampled tokens, T tokens of a row, D hidden size, V vocabulary.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from trainers.data.contexts import PIContexts
from trainers.data.trajectories import Trajectory
from trainers.engine.config import Composition, Interface
from trainers.engine.networks import Network
from trainers.losses.chunked import Projection
from trainers.segments.sampling import Place, Segments
from trainers.teachers.compose import compose_logits
from trainers.teachers.local import check_lengths
from trainers.teachers.local_cache import HiddenStateCache
from trainers.teachers.pi_adapters import AdapterNetwork, Read
from trainers.teachers.pi_rows import PIRow, PIRows
from trainers.teachers.pi_segments import continue_places

BATCH_TOKENS = 32_768


class States(NamedTuple):
    """Hidden states `(N, D)` of the teacher without and with PI."""

    base: Tensor
    pi: Tensor


class PITeacher:
    """q and q^P of one frozen network, from one mixed batch of a row for the base and each source.

    Hidden states are composed in place of logits: the output embedding is linear and no adapter
    changes it. Where there is no PI, q^P is q, to the bit. `base` and `pi` are the two as a
    `Teacher`; asking both for the same trajectories costs one pass. network: loaded with an adapter
    for each source (none for interface `prompt`). keep: keys and values of the trajectories that
    were asked for last, for `continuations`. adapted: who runs the rows, where it is another
    process. Source: CHOP Eq. 14.
    """

    def __init__(
        self,
        network: Network,
        contexts: PIContexts,
        sources: Sequence[str],
        *,
        interface: Interface = Interface.CONTEXT,
        composition: Composition = Composition.LOGITS,
        cache: Path | None = None,
        keep: bool = False,
        adapted: AdapterNetwork | None = None,
    ) -> None:
        self.network = network
        self.base = PIView(self, "base")
        self.pi = PIView(self, "pi")
        merge = composition is Composition.WEIGHTS
        self._adapted = adapted or AdapterNetwork(network, merge=merge)
        self._contexts = contexts
        self._sources = tuple(sources)
        self._rows = PIRows(network.tokenizer, interface, composition)
        self._cache = None if cache is None else HiddenStateCache(cache)
        self._last: dict[str, States] = {}
        self._keep = keep
        self._kept: dict[str, list[Read]] = {}

    def check(self, trajectories: Sequence[Trajectory]) -> None:
        """See `Teacher`: every trajectory has its PI, and fits with it."""
        extra = [
            max(len(row.ids) for row in self.rows(one)) + 1 - len(one.ids) for one in trajectories
        ]
        check_lengths(self.network, trajectories, [max(0, more) for more in extra])

    def rows(self, trajectory: Trajectory) -> list[PIRow]:
        """What is run for a trajectory, the base first."""
        texts = {source: self._contexts.of(trajectory, source) for source in self._sources}
        return self._rows.of(trajectory, texts)

    @torch.no_grad()
    def states(self, trajectories: Sequence[Trajectory]) -> list[States]:
        """Of each trajectory, in the dtype of the network's output embedding."""
        found: dict[str, States] = {}
        keys = []
        for one in trajectories:
            rows = self.rows(one)
            keys.append(self._key(rows))
            if keys[-1] not in found:
                known = self._last.get(keys[-1])
                found[keys[-1]] = known or self._make(keys[-1], rows)
        self._last = found
        self._kept = {key: reads for key, reads in self._kept.items() if key in found}
        return [found[key] for key in keys]

    @torch.no_grad()
    def replay(self, trajectories: Sequence[Trajectory]) -> list[States]:
        """The base twice: in the batch of `states`, and by itself. What differs is noise."""
        found = []
        for one in trajectories:
            rows = self.rows(one)
            pair = self._read(rows)[0].hidden, self._adapted.read(rows[:1])[0].hidden
            found.append(States(*(each.to(self.network.head.dtype) for each in pair)))
        return found

    def continuations(
        self, places: Sequence[Place], count: int, length: int, seed: int, *, with_pi: bool
    ) -> list[Segments]:
        """See `SegmentSource`; with PI, every token is drawn from the composed distribution."""
        reads: dict[str, list[Read]] = {}
        for place in places:
            name = place.trajectory.name
            if name not in reads:
                rows = self.rows(place.trajectory)
                reads[name] = self._kept.get(self._key(rows)) or self._read(rows, keep=True)
        known = [reads[place.trajectory.name] for place in places]
        if not with_pi:
            known = [each[:1] for each in known]
        return continue_places(self._adapted, places, known, count, length, seed)

    def _read(self, rows: Sequence[PIRow], *, keep: bool = False) -> list[Read]:
        return [one for part in _batches(rows) for one in self._adapted.read(part, keep=keep)]

    def _make(self, key: str, rows: Sequence[PIRow]) -> States:
        head = self.network.head
        names = (f"{key}-base", f"{key}-pi")
        if self._cache is not None:
            kept = [self._cache.get(name, head.dtype) for name in names]
            if kept[0] is not None and kept[1] is not None:
                return States(kept[0].to(head.device), kept[1].to(head.device))
        reads = self._read(rows, keep=self._keep)
        if self._keep:
            self._kept[key] = reads
        states = States(reads[0].hidden.to(head.dtype), _compose(reads).to(head.dtype))
        if self._cache is not None:
            for name, each in zip(names, states, strict=True):
                self._cache.put(name, each)
        return states

    def _key(self, rows: Sequence[PIRow]) -> str:
        digest = hashlib.sha256(f"{self.network.sha256} {self.network.head.dtype}\n".encode())
        for row in rows:
            digest.update(
                f"{row.adapter} {row.sources} {len(row.ids)} {len(row.states)}\n".encode()
            )
            digest.update(row.ids.astype("<i4").tobytes() + row.states.astype("<i8").tobytes())
            digest.update(row.tokens.astype("<i8").tobytes())
        return digest.hexdigest()


class PIView:
    """One of the two distributions, as a `Teacher`."""

    def __init__(self, owner: PITeacher, which: str) -> None:
        self.owner = owner
        self.model = owner.network
        self._which = which

    def check(self, trajectories: Sequence[Trajectory]) -> None:
        """See `Teacher`."""
        self.owner.check(trajectories)

    def project(self, trajectories: Sequence[Trajectory]) -> Projection:
        """See `Teacher`."""
        found = [getattr(one, self._which) for one in self.owner.states(trajectories)]
        return Projection(torch.cat(found), self.model.head[: self.model.vocabulary])

    def continuations(
        self, places: Sequence[Place], count: int, length: int, seed: int
    ) -> list[Segments]:
        """See `SegmentSource`."""
        return self.owner.continuations(places, count, length, seed, with_pi=self._which == "pi")


def _compose(reads: Sequence[Read]) -> Tensor:
    """The states with PI of all rows together, `(N, D)`, in float32 where several meet."""
    base = reads[0].hidden
    readers: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, read in enumerate(reads[1:], 1):
        for place, token in enumerate(read.row.tokens.tolist()):
            readers[token].append((number, place))
    together: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for token, found in readers.items():
        together[tuple(number for number, _ in found)].append(token)
    composed = base.to(torch.promote_types(base.dtype, torch.float32), copy=True)
    for numbers, tokens in together.items():
        places = [[readers[token][k][1] for token in tokens] for k in range(len(numbers))]
        parts = [reads[number].hidden[at] for number, at in zip(numbers, places, strict=True)]
        composed[tokens] = compose_logits(base[tokens], parts).to(composed.dtype)
    return composed


def _batches(rows: Sequence[PIRow]) -> list[list[PIRow]]:
    """Rows in their order, as many together as `BATCH_TOKENS` takes with their padding."""
    batches: list[list[PIRow]] = []
    for row in rows:
        longest = max([len(row.ids), *(len(each.ids) for each in batches[-1])]) if batches else 0
        if batches and longest * (len(batches[-1]) + 1) <= BATCH_TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
