"""Continuations of states: how likely a network finds them, and how it embeds them.

Shapes: K continuations of a state, L tokens at most, D hidden size.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from trainers.data.trajectories import Trajectory
from trainers.engine.networks import Network
from trainers.losses.chunked import Projection, over_tokens
from trainers.losses.divergences import log_probs
from trainers.segments.branch import pooled
from trainers.segments.continuation import Starts, follow
from trainers.segments.local import run_of, starts_of
from trainers.segments.prefixes import Prefix, keeping_prefix
from trainers.segments.sampling import Place, Segments
from trainers.teachers.base import Teacher
from trainers.teachers.pi_adapters import AdapterNetwork
from trainers.teachers.pi_rows import BASE

TOKENS = 4096  # of continuations that are run at once


class Scored(NamedTuple):
    """log_probs: sums over the tokens of each continuation, `(K,)`; embeddings: means, `(K, D)`."""

    log_probs: Tensor
    embeddings: Tensor


def network_of(teacher: Teacher) -> Network | None:
    """The network behind a teacher, where it is on this machine."""
    return teacher.model if isinstance(teacher.model, Network) else None


@contextmanager
def without_adapters(network: Network) -> Iterator[None]:
    """Passes of one row are those of the base model of a network that PI adapters were added to."""
    with AdapterNetwork(network).adapters([BASE]):
        yield


@torch.no_grad()
def prefix_of(network: Network, trajectory: Trajectory) -> Prefix:
    """Keys and values of a trajectory."""
    ids = torch.from_numpy(trajectory.ids).long().to(network.head.device)[None]
    with keeping_prefix(network) as prefix:
        network.hidden(ids, torch.arange(ids.shape[1], device=ids.device)[None])
    return prefix.detach()


@torch.no_grad()
def follow_segments(
    network: Network,
    prefix: Prefix,
    places: Sequence[Place],
    drawn: Sequence[Segments],
    *,
    chunk: int,
) -> list[Scored]:
    """Score and embed continuations of places; an embedding is the mean of last hidden states.

    chunk: tokens whose logits are held at a time.
    """
    device = network.head.device
    count = len(drawn[0].lengths)
    ids = torch.cat([each.ids for each in drawn]).to(device)
    lengths = torch.cat([each.lengths for each in drawn]).to(device)
    starts = starts_of(places, [0] * len(places), count, device)
    step = max(1, TOKENS // (ids.shape[1] + 1))
    parts = [slice(start, start + step) for start in range(0, len(ids), step)]
    found = [
        _follow(network, prefix, starts.select(part), Segments(ids[part], lengths[part]), chunk)
        for part in parts
    ]
    scores, embeddings = (torch.cat(each) for each in zip(*found, strict=True))
    return [
        Scored(scores[start : start + count], embeddings[start : start + count])
        for start in range(0, len(ids), count)
    ]


def _log_prob(logits: Tensor, ids: Tensor) -> dict[str, Tensor]:
    return {"log_p": log_probs(logits).gather(-1, ids.unsqueeze(-1)).squeeze(-1)}


def _follow(
    network: Network, prefix: Prefix, starts: Starts, segments: Segments, chunk: int
) -> Scored:
    count = len(segments.lengths)
    head = network.head[: network.vocabulary]
    found = follow(run_of(network), prefix, starts, segments)
    inner = found.offsets < segments.lengths[found.owners]
    owners = found.owners[inner]
    source = Projection(found.hidden[0, inner].to(head.dtype), head)
    ids = segments.ids[owners, found.offsets[inner]]
    log_p = over_tokens(_log_prob, [source], ids, chunk=chunk)["log_p"]
    scores = log_p.new_zeros(count).index_add(0, owners, log_p)
    return Scored(scores.cpu(), pooled(found, count).cpu())
