"""The segment branch of a row: anchors, segments of both models, their distance, its gradient.

Shapes: N sampled tokens of the row, A anchors, K segments of each, B = A·K, D hidden size.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from trainers.engine.errors import MismatchError
from trainers.losses.chunked import Projection, over_tokens
from trainers.losses.divergences import log_probs
from trainers.methods.base import Role, RowWork
from trainers.methods.chop_settings import Distance, Encoder, SegmentSettings
from trainers.segments.anchors import draw_anchors
from trainers.segments.continuation import Followed, Run, Starts, follow, sample
from trainers.segments.local import run_of, starts_of, stop_ids
from trainers.segments.mmd import mmd_squared
from trainers.segments.prefixes import Prefix, keeping_prefix
from trainers.segments.sampling import Place, Segments, SegmentSource, uniforms
from trainers.segments.score_gradient import marginal_weights, segment_weights
from trainers.segments.wasserstein import sliced_wasserstein_squared, unit_projections

if TYPE_CHECKING:
    from trainers.engine.networks import Network


class Anchored(NamedTuple):
    """Anchors of a row: places, their number among its sampled tokens `(A,)`, weights `(A,)`."""

    places: list[Place]
    numbers: Tensor
    weights: Tensor


@dataclass(frozen=True)
class SegmentBranch:
    """`w · SW²` at the anchors of untrusted states, each with its inverse probability."""

    settings: SegmentSettings

    def __call__(self, work: RowWork) -> dict[str, Tensor]:
        """`loss`, the squared distance and the anchor's weight of each sampled token, `(N,)`.

        Zeros where there is no anchor. The value of `loss` is the distance's, its gradient that of
        the estimator.
        """
        device, count = work.network.head.device, len(work.row.columns.sampled)
        found = {
            name: torch.zeros(count, device=device)
            for name in ("loss", "segment_distance", "anchor_weight")
        }
        anchors = self._anchors(work)
        if not anchors.places:
            return found
        with evaluating(work.network):
            distances, surrogates = self._compare(work, anchors)
        scale = anchors.weights * self.settings.weight
        values = scale * (distances + surrogates - surrogates.detach())
        found["loss"] = found["loss"].index_put((anchors.numbers,), values)
        found["segment_distance"][anchors.numbers] = distances
        found["anchor_weight"][anchors.numbers] = anchors.weights
        return found

    def _anchors(self, work: RowWork) -> Anchored:
        untrusted = ~work.found["trusted"].detach().cpu()
        owner = work.row.columns.trajectory.cpu()
        places, numbers, weights = [], [], []
        for index, one in enumerate(work.row.trajectories):
            mine = (owner == index).nonzero().squeeze(-1)
            generator = torch.Generator().manual_seed(_seed(work, f"anchors {one.name}"))
            drawn = draw_anchors(untrusted[mine], self.settings.anchors, generator)
            places += [Place(one, int(one.positions[at]) - 1) for at in drawn.positions.tolist()]
            numbers.append(mine[drawn.positions])
            weights.append(drawn.weights)
        device = work.network.head.device
        return Anchored(places, torch.cat(numbers).to(device), torch.cat(weights).to(device))

    def _compare(self, work: RowWork, anchors: Anchored) -> tuple[Tensor, Tensor]:
        """Squared distances `(A,)`, and what has the gradient of their expectation `(A,)`."""
        settings, network = self.settings, work.network
        run, head = run_of(network), network.head[: network.vocabulary]
        starts = starts_of(anchors.places, _firsts(work, anchors), settings.count, head.device)
        at = torch.cat(
            [
                uniforms(place, settings.count, settings.length, _seed(work, "student"))
                for place in anchors.places
            ]
        )
        with torch.no_grad():
            stop = stop_ids(network)
            mine = sample(run, work.prefix, starts, head.to(network.dtype), at, stop)
            theirs = self._teachers(work, anchors)
            encoder = self._encoder(work)
            embedded = encoder.embed(starts, theirs)
            ours = None if encoder.current else encoder.embed(starts, mine)
        log_p, states = self._score(work, run, starts, mine)
        ours = states if ours is None else ours
        generator = torch.Generator().manual_seed(_seed(work, "projections"))
        projections = unit_projections(settings.projections, ours.shape[-1], generator)
        projections = projections.to(ours.device)
        parts = (torch.split(each, settings.count) for each in (embedded, ours))
        distances, weights = zip(
            *(
                self._distance(first, second, projections)
                for first, second in zip(*parts, strict=True)
            ),
            strict=True,
        )
        surrogates = (torch.cat(weights) * log_p).view(-1, settings.count).sum(-1)
        return torch.stack(distances), surrogates

    def _teachers(self, work: RowWork, anchors: Anchored) -> Segments:
        """`(B, L)` segments of the PI teacher where its gate is open, of the teacher elsewhere."""
        settings = self.settings
        active = work.found["pi_active"][anchors.numbers].tolist()
        found: list[Segments | None] = [None] * len(anchors.places)
        for role in (Role.TEACHER, Role.PI_TEACHER):
            wanted = [k for k, each in enumerate(active) if each == (role is Role.PI_TEACHER)]
            if not wanted:
                continue
            teacher = work.teachers[role]
            if not isinstance(teacher, SegmentSource):
                raise MismatchError(
                    f"the {role} {teacher.model.name} cannot be asked for continuations: choose "
                    "another kind of teacher, or granularity: token"
                )
            drawn = teacher.continuations(
                [anchors.places[k] for k in wanted],
                settings.count,
                settings.length,
                _seed(work, "teacher"),
            )
            for k, segments in zip(wanted, drawn, strict=True):
                found[k] = segments
        device = work.network.head.device
        whole = [each for each in found if each is not None]
        return Segments(
            torch.cat([each.ids for each in whole]).to(device),
            torch.cat([each.lengths for each in whole]).to(device),
        )

    def _score(
        self, work: RowWork, run: Run, starts: Starts, mine: Segments
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities `(B,)` with gradient, and embeddings `(B, D)`, of student segments.

        A few anchors at a time, whose work is done again in the backward pass.
        """
        network = work.network
        head = network.head[: network.vocabulary].to(network.dtype)
        prefix, layers = work.prefix, len(work.prefix.layers)

        def score(*tensors: Tensor) -> tuple[Tensor, Tensor]:
            behind = Prefix()
            behind.layers = list(zip(tensors[:layers], tensors[layers : 2 * layers], strict=True))
            part = Segments(*tensors[2 * layers : 2 * layers + 2])
            some = Starts(*tensors[2 * layers + 2 :])
            with evaluating(network):
                found = follow(run, behind, some, part)
            inner = found.offsets < part.lengths[found.owners]
            owners = found.owners[inner]
            log_p = over_tokens(
                _log_prob,
                [Projection(found.hidden[0, inner].to(network.dtype), head)],
                part.ids[owners, found.offsets[inner]],
                chunk=work.chunk,
            )["log_p"]
            total = log_p.new_zeros(len(part.ids)).index_add(0, owners, log_p)
            return total, pooled(found, len(part.ids))

        tensors = [keys for keys, _ in prefix.layers] + [values for _, values in prefix.layers]
        log_p, embedded = [], []
        for chosen in _groups(mine, self.settings.count, max(work.chunk, prefix.length)):
            some = starts.select(chosen)
            parts = (mine.ids[chosen], mine.lengths[chosen], some.first, some.states, some.tokens)
            part = checkpoint(
                score, *tensors, *parts, use_reentrant=False, preserve_rng_state=False
            )
            log_p.append(part[0])
            embedded.append(part[1])
        return torch.cat(log_p), torch.cat(embedded)

    def _encoder(self, work: RowWork) -> "_Embedder":
        if self.settings.encoder is Encoder.CURRENT:
            return _Embedder(work.network, work.prefix.detach(), self.settings.count, True)
        if not isinstance(work.network.model, PeftModel):
            raise MismatchError(
                "encoder 'frozen' is the student without its adapter, and this student has none: "
                "set student.adapter, or encoder: current"
            )
        with work.network.model.disable_adapter(), keeping_prefix(work.network) as prefix:
            work.network.hidden(work.row.ids, work.row.positions)
        return _Embedder(work.network, prefix, self.settings.count, False)

    def _distance(
        self, teacher: Tensor, student: Tensor, projections: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Their squared distance, `(K, D)` each, and weights `(K,)` of log-probabilities."""
        if self.settings.distance is Distance.MMD:
            weights = marginal_weights(lambda points: mmd_squared(teacher, points), student)
            return mmd_squared(teacher, student), weights
        weights = segment_weights(teacher, student, projections, self.settings.estimator)
        return sliced_wasserstein_squared(teacher, student, projections), weights


@dataclass(frozen=True)
class _Embedder:
    """The student as an encoder of segments. current: with its adapter."""

    network: "Network"
    prefix: Prefix
    count: int
    current: bool

    def embed(self, starts: Starts, segments: Segments) -> Tensor:
        """Mean hidden states of segments' tokens, `(B, D)`, float32."""
        model = self.network.model
        off = isinstance(model, PeftModel) and not self.current
        found = []
        with model.disable_adapter() if off else nullcontext():  # type: ignore[operator]
            for chosen in _groups(segments, self.count, self.prefix.length):
                part = Segments(segments.ids[chosen], segments.lengths[chosen])
                some = starts.select(chosen)
                followed = follow(run_of(self.network), self.prefix, some, part)
                found.append(pooled(followed, len(part.ids)))
        return torch.cat(found)


def pooled(found: Followed, count: int) -> Tensor:
    """Segments' mean states without that of the anchor: `(B, D)`, float32, no gradient."""
    behind = found.offsets > 0
    owners, states = found.owners[behind], found.hidden[0, behind].detach().float()
    sums = states.new_zeros(count, states.shape[-1]).index_add(0, owners, states)
    return sums / torch.bincount(owners, minlength=count).unsqueeze(-1)


def _log_prob(logits: Tensor, ids: Tensor) -> dict[str, Tensor]:
    return {"log_p": log_probs(logits).gather(-1, ids.unsqueeze(-1)).squeeze(-1)}


def _groups(segments: Segments, count: int, tokens: int) -> Iterator[slice]:
    """Whole anchors, as many together as have `tokens` tokens; at least one."""
    sizes = (segments.lengths + 1).view(-1, count).sum(-1).tolist()
    start, total = 0, 0
    for anchor, size in enumerate(sizes):
        if total and total + size > tokens:
            yield slice(start * count, anchor * count)
            start, total = anchor, 0
        total += size
    yield slice(start * count, len(sizes) * count)


def _firsts(work: RowWork, anchors: Anchored) -> list[int]:
    """Where each anchor's trajectory begins in the row."""
    lengths = [len(one.ids) for one in work.row.trajectories]
    begins = np.cumsum([0, *lengths]).tolist()
    owner = work.row.columns.trajectory[anchors.numbers].tolist()
    return [begins[number] for number in owner]


def _seed(work: RowWork, purpose: str) -> int:
    """A seed that depends on nothing but the training, the step and what it is for."""
    digest = hashlib.sha256(f"{work.seed} {work.step} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


@contextmanager
def evaluating(network: "Network") -> Iterator[None]:
    """Without dropout, and without activation checkpointing, which would drop a cache."""
    was = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was)
