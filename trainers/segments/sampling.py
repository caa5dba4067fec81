"""Short continuations of states, from whoever can sample them.

Shapes: A states, K continuations of each, L tokens at most.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from trainers.data.trajectories import Trajectory


class Place(NamedTuple):
    """A state of a trajectory: everything up to the token number `state`, inclusive."""

    trajectory: Trajectory
    state: int


class Segments(NamedTuple):
    """Continuations of one state: ids `(K, L)`, int64, and how many of each count, `(K,)`.

    A continuation ends behind the end of the turn (its token counts), or after L tokens; what lies
    behind is 0.
    """

    ids: Tensor
    lengths: Tensor


@runtime_checkable
class SegmentSource(Protocol):
    """Whoever samples continuations, at temperature 1 with nothing cut off."""

    def continuations(
        self, places: Sequence[Place], count: int, length: int, seed: int
    ) -> list[Segments]:
        """`count` independent continuations of each place, drawn by a seed.

        The result for a place depends on the others that are asked for in rounding alone.
        """
        ...


def uniforms(place: Place, count: int, length: int, seed: int) -> Tensor:
    """Random numbers in [0, 1) that a place's continuations are drawn by, `(K, L)`, float64."""
    text = f"{seed} {place.trajectory.name} {place.state}"
    digest = hashlib.sha256(text.encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
    return torch.rand(count, length, generator=generator, dtype=torch.float64)


def choose(logits: Tensor, at: Tensor) -> Tensor:
    """The id in each distribution `(B, V)` whose share of the mass covers `at`, `(B,)` < 1."""
    mass = logits.double().softmax(-1).cumsum(-1)
    wanted = (at.to(mass.device) * mass[:, -1]).unsqueeze(-1)
    found = torch.searchsorted(mass, wanted, right=True).squeeze(-1)
    return found.clamp_max(logits.shape[-1] - 1)
