"""A teacher on this machine: a frozen model of transformers."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainers.data.packing import make_row
from trainers.data.trajectories import Trajectory
from trainers.engine.networks import Network
from trainers.losses.chunked import Projection
from trainers.teachers.local_cache import HiddenStateCache


class LocalTeacher:
    """A `Teacher` that runs each trajectory through a frozen network, or reads what it once gave.

    cache: a folder for hidden states; their key is the network's weights and dtype, the token ids
    and the places asked for.
    """

    def __init__(self, network: Network, cache: Path | None = None) -> None:
        self.network = network
        self._cache = None if cache is None else HiddenStateCache(cache)

    @torch.no_grad()
    def project(self, trajectories: Sequence[Trajectory]) -> Projection:
        """See `Teacher`."""
        hidden = [self._states(one) for one in trajectories]
        return Projection(torch.cat(hidden), self.network.head[: self.network.vocabulary])

    def _states(self, one: Trajectory) -> Tensor:
        head = self.network.head
        key = self._key(one)
        found = None if self._cache is None else self._cache.get(key, head.dtype)
        if found is not None:
            return found.to(head.device)
        row = make_row([one]).to(head.device)
        states = self.network.hidden(row.ids, row.positions)[row.states].to(head.dtype)
        if self._cache is not None:
            self._cache.put(key, states)
        return states

    def _key(self, one: Trajectory) -> str:
        digest = hashlib.sha256(f"{self.network.sha256} {self.network.head.dtype}\n".encode())
        digest.update(one.ids.astype("<i4").tobytes() + one.positions.astype("<i8").tobytes())
        return digest.hexdigest()
