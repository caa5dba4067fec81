"""Which tokens are audited: the peaks, without overlap, within texts."""

import itertools

import numpy as np
import pytest

from tests.trainers.omniopd.material import trajectory
from trainers.omniopd.chunks import Chunk, select_chunks, text_spans


def naive(scores: list[float], spans: list[Chunk], count: int, length: int) -> list[Chunk]:
    """One anchor after another, each compared with all that are taken."""
    taken: list[Chunk] = []
    for anchor in sorted(range(len(scores)), key=lambda at: (-scores[at], at)):
        span = next((one for one in spans if one.start <= anchor < one.end), None)
        if span is None or len(taken) == count:
            continue
        chunk = Chunk(anchor, min(anchor + length, span.end))
        if all(chunk.end <= one.start or one.end <= chunk.start for one in taken):
            taken.append(chunk)
    return sorted(taken)


@pytest.mark.parametrize("seed", range(40))
def test_it_is_what_one_anchor_after_another_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 60))
    scores = rng.integers(0, 8, size).astype(float)  # many ties
    edges = sorted({0, size, *rng.integers(0, size + 1, 4).tolist()})
    spans = [Chunk(a, b) for a, b in itertools.pairwise(edges) if rng.random() < 0.8]
    count, length = int(rng.integers(1, 9)), int(rng.integers(1, 12))
    found = select_chunks(scores, spans, count=count, length=length)
    assert found == naive(scores.tolist(), spans, count, length)
    audited = {at for chunk in found for at in range(*chunk)}
    assert len(audited) == sum(chunk.end - chunk.start for chunk in found)  # disjoint
    assert audited <= {at for span in spans for at in range(*span)}


def test_ties_go_to_the_lowest_and_chunks_begin_at_their_anchor() -> None:
    scores = np.array([0.0, 5, 0, 5, 0, 0, 5, 0])
    spans = [Chunk(0, 8)]
    assert select_chunks(scores, spans, count=2, length=2) == [(1, 3), (3, 5)]
    assert select_chunks(scores, spans, count=2, length=3) == [(1, 4), (6, 8)]
    assert select_chunks(scores, [Chunk(0, 4)], count=9, length=3) == [(1, 4)]


def test_spans_end_with_turns_and_control_tokens() -> None:
    one = trajectory([[1, 2, 9, 3], [4, 5, 9], [9, 9]])
    assert text_spans(one, np.array([9])) == [(0, 2), (3, 4), (4, 6)]
    assert text_spans(one, np.array([], np.int64)) == [(0, 4), (4, 7), (7, 9)]
