"""One trajectory measured: every state, reference states for α, anchors for segments.

Shapes: N sampled tokens, R reference states, A anchors, K segments of each model,
D the student's hidden size.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.data.packing import Columns, make_row
from trainers.data.trajectories import Trajectory
from trainers.diagnostics.alignment import (
    Alignment,
    alignment,
    reference_states,
    rollout_directions,
    rollout_weights,
    token_direction,
)
from trainers.diagnostics.continuations import (
    Scored,
    follow_segments,
    network_of,
    prefix_of,
    without_adapters,
)
from trainers.diagnostics.embeddings import first_token_distance, wasserstein
from trainers.diagnostics.options import DiagnosisOptions
from trainers.diagnostics.parts import Part
from trainers.diagnostics.states import StateQuantities
from trainers.engine.networks import Network
from trainers.losses.chunked import over_tokens
from trainers.losses.divergences import log_probs
from trainers.losses.sources import Source
from trainers.methods.base import Role
from trainers.segments.local import LocalSegments
from trainers.segments.prefixes import Prefix
from trainers.segments.sampling import Place, Segments
from trainers.teachers.base import Teacher

Rollouts = Mapping[int, Sequence[tuple[int, float]]]
"""By place in a trajectory: first token and return of each of the teacher's rollouts."""


SAMPLED = 8192  # tokens of continuations that are drawn side by side


@dataclass(frozen=True)
class Bench:
    """The models. sources: a teacher for each PI source alone, in order."""

    student: Network
    teachers: Mapping[Role, Teacher]
    sources: Mapping[str, Teacher]
    method: StateQuantities
    chunk: int

    @property
    def teacher(self) -> Network | None:
        """The teacher without PI, where it is on this machine."""
        return network_of(self.teachers[Role.TEACHER])


def measure(
    bench: Bench, one: Trajectory, options: DiagnosisOptions, given: Rollouts, *, segments: bool
) -> Part:
    """Everything about one trajectory, by name.

    `state/…` `(N,)` of each sampled token; `alpha/…` `(R,)`, with `alpha/state` the number of the
    sampled token; `segment/embeddings` `(A·2K, D)`, the student's first; `segment/…` `(A,)`.
    given: outcomes of rollouts that somebody graded; without any, the teacher's own continuations
    return the log-ratio of both models, the return that OPD's sequence objective has (CHOP Eq. 1).
    """
    with torch.no_grad():
        row = make_row([one]).to(bench.student.head.device)
        teachers = [bench.teachers[role] for role in bench.method.roles]
        others = [each.project([one]) for each in (*teachers, *bench.sources.values())]
        models = [bench.student.projection(row), *others]

        def body(*tensors: Tensor) -> dict[str, Tensor]:
            logits, columns = tensors[: len(models)], Columns(*tensors[len(models) :])
            return bench.method.tokens(logits, columns)

        found = over_tokens(body, models, *row.columns, chunk=bench.chunk)
        part = {f"state/{name}": _array(values) for name, values in found.items()}
        work = _Continuing(bench, one, options)
        part |= work.alignment(models[0], others[0], given)
        if segments and options.anchors:
            part |= work.segments()
    return part


class _Continuing:
    """What continues a trajectory; both models' keys and values are made once."""

    def __init__(self, bench: Bench, one: Trajectory, options: DiagnosisOptions) -> None:
        self._bench = bench
        self._one = one
        self._options = options
        self._prefixes: dict[bool, Prefix] = {}

    def alignment(self, student: Source, teacher: Source, given: Rollouts) -> Part:
        places, options = self._one.positions, self._options
        if given:
            numbers = np.flatnonzero(np.isin(places, np.array(sorted(given))))
            rollouts = [_graded(given[place]) for place in places[numbers].tolist()]
        elif options.rollouts >= 2 and self._bench.teacher is not None:
            numbers = reference_states(self._one.name, len(places), options.states, options.seed)
            rollouts = self._log_ratios(numbers)
        else:
            numbers, rollouts = np.empty(0, np.int64), []
        results: list[Alignment] = []
        for number, (first, returns) in zip(numbers.tolist(), rollouts, strict=True):
            log_p, log_q = (_at(source, number) for source in (student, teacher))
            results.append(
                alignment(
                    token_direction(log_p, log_q),
                    rollout_directions(log_p, first),
                    returns,
                    rollout_weights(log_p, log_q, first),
                )
            )
        return {
            "alpha/state": numbers.astype(np.int64),
            "alpha/value": np.array([one.value for one in results], np.float64),
            "alpha/error": np.array([one.error for one in results], np.float64),
        }

    def segments(self) -> Part:
        options, width = self._options, self._bench.student.head.shape[1]
        name = f"{self._one.name} anchors"
        numbers = reference_states(name, self._one.sampled_tokens, options.anchors, options.seed)
        if self._bench.teacher is None:
            numbers = numbers[:0]
        places = self._places(numbers)
        size = (options.segments, options.segment_length)
        embeddings = [np.empty((0, width), np.float32)]
        distances, variations = [], []
        mine, theirs = (self._sample(places, teacher, *size) for teacher in (False, True))
        points = [self._follow(places, False, drawn) for drawn in (mine, theirs)]
        for number, drawn in enumerate(zip(mine, theirs, strict=True)):
            pair = [each[number].embeddings.numpy() for each in points]
            embeddings += pair
            distances.append(wasserstein(*(each.astype(np.float64) for each in pair)))
            variations.append(first_token_distance(*(each.ids[:, 0].numpy() for each in drawn)))
        return {
            "segment/state": numbers,
            "segment/embeddings": np.concatenate(embeddings).astype(np.float32),
            "segment/distance": np.array(distances, np.float64),
            "segment/variation": np.array(variations, np.float64),
        }

    def _log_ratios(self, numbers: NDArray[np.int64]) -> list[tuple[Tensor, Tensor]]:
        """First tokens of the teacher's continuations, and Σ log q - log p over each."""
        places = self._places(numbers)
        drawn = self._sample(places, True, self._options.rollouts, self._options.length)
        scores = [self._follow(places, teacher, drawn) for teacher in (False, True)]
        return [
            (each.ids[:, 0], theirs.log_probs - mine.log_probs)
            for each, mine, theirs in zip(drawn, *scores, strict=True)
        ]

    def _places(self, numbers: NDArray[np.int64]) -> list[Place]:
        return [Place(self._one, int(place) - 1) for place in self._one.positions[numbers]]

    def _sample(
        self, places: Sequence[Place], teacher: bool, count: int, length: int
    ) -> list[Segments]:
        network = self._network(teacher)
        seed = 2 * self._options.seed + teacher  # neither model follows the other's luck
        step = max(1, SAMPLED // (count * length))
        found: list[Segments] = []
        for start in range(0, len(places), step):
            kept = {self._one.name: self._prefix(teacher)}
            with self._base(teacher):
                found += LocalSegments(network).continuations(
                    places[start : start + step], count, length, seed, kept
                )
        return [Segments(each.ids.cpu(), each.lengths.cpu()) for each in found]

    def _follow(
        self, places: Sequence[Place], teacher: bool, drawn: Sequence[Segments]
    ) -> list[Scored]:
        if not places:
            return []
        with self._base(teacher):
            return follow_segments(
                self._network(teacher),
                self._prefix(teacher),
                places,
                drawn,
                chunk=self._bench.chunk,
            )

    def _prefix(self, teacher: bool) -> Prefix:
        if teacher not in self._prefixes:
            with self._base(teacher):
                self._prefixes[teacher] = prefix_of(self._network(teacher), self._one)
        return self._prefixes[teacher]

    def _base(self, teacher: bool) -> AbstractContextManager[None]:
        return without_adapters(self._network(True)) if teacher else nullcontext()

    def _network(self, teacher: bool) -> Network:
        network = self._bench.teacher if teacher else self._bench.student
        assert network is not None
        return network


def _at(source: Source, number: int) -> Tensor:
    """Log-probabilities `(V,)` at one state."""
    columns = [each[number : number + 1] for each in source.columns]
    return log_probs(source.logits(*columns))[0].double().cpu()


def _graded(rollouts: Sequence[tuple[int, float]]) -> tuple[Tensor, Tensor]:
    return (
        torch.tensor([token for token, _ in rollouts]),
        torch.tensor([outcome for _, outcome in rollouts], dtype=torch.float64),
    )


def _array(values: Tensor) -> NDArray[np.float32]:
    return values.detach().float().cpu().numpy()
