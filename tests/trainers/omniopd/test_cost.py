"""The cost ledger: the paper's rows, and what a training's answers came to."""

import pytest

from trainers.omniopd.cost import Cost, measure, paper_rows, per_sample
from trainers.omniopd.texts import Answer, Ask

TABLE_8 = [  # M, N, C, teacher input, teacher output, relative effort
    (5, 10, 50, 16_850, 5_000, 0.88),
    (10, 10, 25, 33_700, 5_000, 1.13),
    (10, 10, 50, 33_700, 10_000, 1.75),
    (10, 10, 100, 33_700, 20_000, 3.00),
    (10, 20, 50, 67_400, 20_000, 3.50),
    (20, 10, 50, 67_400, 20_000, 3.50),
    (10, 20, 100, 67_400, 40_000, 6.00),
]


def test_the_papers_table_and_its_factors() -> None:
    rows = paper_rows()
    for row, (chunks, rollouts, size, given, taken, effort) in zip(rows, TABLE_8, strict=True):
        assert (row.chunks, row.rollouts, row.chunk_tokens) == (chunks, rollouts, size)
        assert (row.printed.prefill, row.printed.decode) == (given, taken)
        assert round(row.relative(row.printed), 2) == effort
        assert row.formula.decode * 2 == taken
        assert row.formula.prefill == given / (2 if rollouts == 20 else 1)


def test_the_formula() -> None:
    cached = per_sample(10, 20, 50, prompt=200, length=6_340)
    assert (cached.prefill, cached.decode) == (33_700, 10_000)  # both in the paper's own words
    bare = per_sample(10, 20, 50, prompt=200, length=6_340, prefix_caching=False)
    assert (bare.prefill, bare.decode) == (20 * 33_700, 10_000)
    assert Cost(prefill=100, decode=10).effort(5) == 150


def test_what_answers_came_to() -> None:
    asks = [Ask((), "a", 3, 2), Ask((), "b", 2, 2)]
    answers = [
        Answer(texts=("xyz", "x"), prompt_tokens=7, generated_tokens=4, cached_tokens=2, seconds=1),
        Answer(texts=("", "xy"), prompt_tokens=5, generated_tokens=1, requests=2, replayed=True),
    ]
    found = measure(asks, answers, 3.0)
    assert (found.asks, found.replayed, found.requests, found.short) == (2, 1, 3, 2)
    assert (found.prefill, found.cached, found.decode) == (12, 2, 5)
    assert (found.waited, found.teacher_seconds) == (3.0, 1.0)
    with pytest.raises(ValueError, match="shorter"):
        measure(asks, answers[:1], 3.0)
