"""A teacher on this machine: a frozen model of transformers."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from trainers.data.packing import make_row
from trainers.data.trajectories import Trajectory
from trainers.engine.errors import MismatchError
from trainers.engine.networks import Network
from trainers.losses.chunked import Projection
from trainers.segments.local import LocalSegments
from trainers.segments.prefixes import Prefix, keeping_prefix
from trainers.segments.sampling import Place, Segments
from trainers.teachers.base import Described
from trainers.teachers.local_cache import HiddenStateCache


def check_lengths(
    model: Described, trajectories: Sequence[Trajectory], extra: Sequence[int] = ()
) -> None:
    """Raise MismatchError for a trajectory, with `extra` tokens in front, that is too long."""
    lengths = [len(one.ids) for one in trajectories]
    if extra:
        lengths = [length + more for length, more in zip(lengths, extra, strict=True)]
    longest = max(range(len(lengths)), key=lambda number: lengths[number])
    if lengths[longest] > model.longest:
        with_pi = " with its PI" if extra else ""
        raise MismatchError(
            f"trajectory {trajectories[longest].name} has {lengths[longest]} tokens{with_pi}, but "
            f"model {model.name} takes {model.longest}: set data.max_tokens to "
            f"{model.longest - max(extra, default=0)} or less"
        )


class WithHead(Described, Protocol):
    """A model whose output embedding is here, `(V, D)`."""

    @property
    def head(self) -> Tensor: ...


class LocalTeacher:
    """A `Teacher` that runs each trajectory through a frozen network, or reads what it once gave.

    cache: a folder for hidden states; their key is the network's weights and dtype, the token ids
    and the places asked for. keep: keep the keys and values of the trajectories that were asked for
    last, so that they can be continued without running them again.
    """

    def __init__(self, network: Network, cache: Path | None = None, *, keep: bool = False) -> None:
        self.model = network
        self._keep = keep
        self._prefixes: dict[str, Prefix] = {}
        self._cache = None if cache is None else HiddenStateCache(cache)

    def check(self, trajectories: Sequence[Trajectory]) -> None:
        """See `Teacher`."""
        check_lengths(self.model, trajectories)

    @torch.no_grad()
    def project(self, trajectories: Sequence[Trajectory]) -> Projection:
        """See `Teacher`."""
        self._prefixes = {}
        hidden = [self._states(one) for one in trajectories]
        return Projection(torch.cat(hidden), self.model.head[: self.model.vocabulary])

    def continuations(
        self, places: Sequence[Place], count: int, length: int, seed: int
    ) -> list[Segments]:
        """See `SegmentSource`."""
        source = LocalSegments(self.model)
        return source.continuations(places, count, length, seed, self._prefixes)

    def _states(self, one: Trajectory) -> Tensor:
        head = self.model.head
        key = state_key(self.model, one)
        found = None if self._cache is None else self._cache.get(key, head.dtype)
        if found is not None:
            return found.to(head.device)
        row = make_row([one]).to(head.device)
        with keeping_prefix(self.model, wanted=self._keep) as prefix:
            states = self.model.hidden(row.ids, row.positions)[row.states].to(head.dtype)
        if self._keep:
            self._prefixes[one.name] = prefix
        if self._cache is not None:
            self._cache.put(key, states)
        return states


class BaseOfStudent(LocalTeacher):
    """The student without its adapter: what it was before a training from a fresh one."""

    def project(self, trajectories: Sequence[Trajectory]) -> Projection:
        """See `Teacher`."""
        with self.model.without_adapter():
            return super().project(trajectories)


def state_key(model: WithHead, one: Trajectory) -> str:
    """What names the hidden states of a trajectory in a cache."""
    digest = hashlib.sha256(f"{model.sha256} {model.head.dtype}\n".encode())
    digest.update(one.ids.astype("<i4").tobytes() + one.positions.astype("<i8").tobytes())
    return digest.hexdigest()
