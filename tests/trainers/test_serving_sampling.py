"""Sampling follows temperature, top-p and top-k, and the seed alone."""

import math
from collections import Counter

import pytest
import torch

from trainers.serving import sampling
from trainers.serving.sampling import Sampler, SamplingParams, token_logprobs

PROBABILITIES = [0.05, 0.4, 0.25, 0.2, 0.1]
LOGITS = torch.tensor(PROBABILITIES).log()


def draws(count: int = 4000, **changes: float | int) -> Counter[int]:
    settings = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 3} | changes
    sampler = Sampler(SamplingParams(**settings))  # type: ignore[arg-type]
    return Counter(sampler.choose(LOGITS) for _ in range(count))


def expected(temperature: float, kept: set[int]) -> dict[int, float]:
    weights = {i: p ** (1 / temperature) for i, p in enumerate(PROBABILITIES) if i in kept}
    return {i: weight / sum(weights.values()) for i, weight in weights.items()}


@pytest.mark.parametrize(
    ("changes", "temperature", "kept"),
    [
        ({}, 1.0, {0, 1, 2, 3, 4}),
        ({"temperature": 0.5}, 0.5, {0, 1, 2, 3, 4}),
        ({"top_p": 0.65}, 1.0, {1, 2}),
        ({"top_p": 0.66}, 1.0, {1, 2, 3}),
        ({"top_p": 0.01}, 1.0, {1}),
        ({"top_k": 3}, 1.0, {1, 2, 3}),
        ({"top_k": 3, "top_p": 0.5}, 1.0, {1, 2}),
        ({"top_p": 0.95, "temperature": 0.7}, 0.7, {1, 2, 3, 4}),
    ],
)
def test_frequencies(changes: dict[str, float], temperature: float, kept: set[int]) -> None:
    count = 4000
    found = draws(count, **changes)
    for token, probability in expected(temperature, kept).items():
        error = 4 * math.sqrt(probability * (1 - probability) / count) + 1e-9
        assert found.pop(token, 0) / count == pytest.approx(probability, abs=error)
    assert not found


def test_temperature_zero_is_greedy() -> None:
    assert draws(20, temperature=0) == {1: 20}


def test_the_seed_decides() -> None:
    def sequence(seed: int) -> list[int]:
        sampler = Sampler(SamplingParams(temperature=1, top_p=0.9, top_k=0, seed=seed))
        return [sampler.choose(LOGITS) for _ in range(50)]

    assert sequence(7) == sequence(7)
    assert sequence(7) != sequence(8)


def test_sorting_the_head_alone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(500, generator=torch.Generator().manual_seed(0)) * 3
    params = SamplingParams(temperature=0.8, top_p=0.9, top_k=0, seed=1)

    def run() -> list[int]:
        sampler = Sampler(params)
        return [sampler.choose(logits) for _ in range(200)]

    whole = run()
    monkeypatch.setattr(sampling, "_HEAD", 2)
    too_short = run()
    monkeypatch.setattr(sampling, "_HEAD", 300)
    assert whole == too_short == run()


def test_logprobs_ignore_the_decoding() -> None:
    found = token_logprobs(LOGITS * 1.0, 3, 2)
    assert found.logprob == pytest.approx(math.log(0.2), abs=1e-5)
    assert found.rank == 3
    assert [token for token, _ in found.top] == [1, 2]
    assert found.top[0][1] == pytest.approx(math.log(0.4), abs=1e-5)
