"""Which parts of a trajectory a teacher is asked about.

Shapes: N sampled tokens of a trajectory.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.data.trajectories import Trajectory


class Chunk(NamedTuple):
    """Sampled tokens `start` to `end` (exclusive), numbered within their trajectory."""

    start: int
    end: int


def select_chunks(
    scores: NDArray[np.floating[Any]], spans: Sequence[Chunk], *, count: int, length: int
) -> list[Chunk]:
    """At most `count` disjoint chunks of up to `length` tokens, at the highest scores first.

    scores: `(N,)`; entropies, or anything else. A chunk begins at its anchor and ends with its span
    at the latest. Anchors whose chunks would overlap a better one's are passed over, ties go to the
    lowest number. The chunks come in the order of their tokens. Source: OmniOPD Eq. 7, Alg. 1.
    """
    ends = np.zeros(len(scores), np.int64)
    starts = np.zeros(len(scores), np.int64)
    free = np.zeros(len(scores), bool)
    for span in spans:
        ends[span.start : span.end] = span.end
        starts[span.start : span.end] = span.start
        free[span.start : span.end] = True
    found: list[Chunk] = []
    for anchor in np.argsort(-scores, kind="stable"):
        if len(found) == count:
            break
        if not free[anchor]:
            continue
        chunk = Chunk(int(anchor), int(min(anchor + length, ends[anchor])))
        found.append(chunk)
        free[max(starts[anchor], anchor - length + 1) : chunk.end] = False
    return sorted(found)


def text_spans(trajectory: Trajectory, special: NDArray[np.int64]) -> list[Chunk]:
    """The stretches of sampled tokens of one turn, without control tokens: what is text."""
    ids = trajectory.ids[trajectory.positions]
    cut = np.flatnonzero(np.isin(ids, special))
    spans, begin = [], 0
    for turn in trajectory.turns:
        end = begin + turn.end - turn.start
        edges = [begin - 1, *cut[(cut >= begin) & (cut < end)], end]
        spans += [Chunk(int(a) + 1, int(b)) for a, b in itertools.pairwise(edges)]
        begin = end
    return [span for span in spans if span.end > span.start]
