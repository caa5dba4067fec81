"""Each divergence against a plain float64 sum, and its gradient against a closed form."""

import math

import pytest
import torch
from torch import Tensor

from trainers.losses.divergences import (
    entropy,
    jensen_shannon,
    kl,
    log_probs,
    sampled_token_surrogate,
    top_k_kl,
    top_k_overlap,
    total_variation,
)

TOKENS, VOCABULARY = 5, 7


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (2, TOKENS, VOCABULARY)
    p, q = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    return p, q


def rows(logits: Tensor) -> list[list[float]]:
    """Probabilities by hand."""
    exponentials = [[math.exp(z) for z in row] for row in logits.tolist()]
    return [[value / sum(row) for value in row] for row in exponentials]


def by_hand(kind: str, p: list[float], q: list[float]) -> float:
    pairs = list(zip(p, q, strict=True))
    m = [0.3 * b + 0.7 * a for a, b in pairs]
    match kind:
        case "entropy":
            return -sum(a * math.log(a) for a in p)
        case "kl":
            return sum(a * math.log(a / b) for a, b in pairs)
        case "tv":
            return sum(abs(a - b) for a, b in pairs) / 2
        case _:
            return 0.3 * by_hand("kl", q, m) + 0.7 * by_hand("kl", p, m)


@pytest.mark.parametrize("kind", ["entropy", "kl", "tv", "jsd"])
def test_a_divergence_is_its_definition(kind: str, pair: tuple[Tensor, Tensor]) -> None:
    log_p, log_q = map(log_probs, pair)
    found = {
        "entropy": lambda: entropy(log_p),
        "kl": lambda: kl(log_p, log_q),
        "tv": lambda: total_variation(log_p, log_q),
        "jsd": lambda: jensen_shannon(log_p, log_q, 0.3),
    }[kind]()
    expected = [by_hand(kind, p, q) for p, q in zip(*map(rows, pair), strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_half_precision_logits_are_compared_in_float32(pair: tuple[Tensor, Tensor]) -> None:
    low = pair[0].to(torch.bfloat16)
    assert log_probs(low).dtype == torch.float32
    assert torch.equal(log_probs(low), log_probs(low.float()))


def test_the_gradient_of_reverse_kl_at_the_logits(pair: tuple[Tensor, Tensor]) -> None:
    student = pair[0].clone().requires_grad_()
    log_p, log_q = log_probs(student), log_probs(pair[1])
    divergence = kl(log_p, log_q)
    torch.autograd.backward(divergence.sum())
    with torch.no_grad():
        expected = log_p.exp() * (log_p - log_q - divergence.unsqueeze(-1))
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-12)


def test_top_k_over_everything_is_the_whole_divergence(pair: tuple[Tensor, Tensor]) -> None:
    log_p, log_q = map(log_probs, pair)
    torch.testing.assert_close(top_k_kl(log_p, log_q, VOCABULARY), kl(log_p, log_q))
    torch.testing.assert_close(top_k_kl(log_p, log_q, 10**6), kl(log_p, log_q))


def test_top_k_renormalises_on_the_support_that_was_chosen() -> None:
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
    q = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64).log()
    student = by_hand("kl", [5 / 8, 3 / 8], [1 / 4, 3 / 4])
    teacher = by_hand("kl", [2 / 5, 3 / 5], [6 / 9, 3 / 9])
    assert top_k_kl(p, q, 2).item() == pytest.approx(student)
    assert top_k_kl(p, q, 2, "teacher").item() == pytest.approx(teacher)
    assert top_k_overlap(p, q, 2).item() == 0.5


def test_a_sampled_token_has_the_gradient_of_the_whole_on_average() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(VOCABULARY, generator=generator, dtype=torch.float64).requires_grad_()
    log_q = log_probs(torch.randn(VOCABULARY, generator=generator, dtype=torch.float64))
    (expected,) = torch.autograd.grad(kl(log_probs(logits), log_q), logits)

    average = torch.zeros_like(expected)
    naive = torch.zeros_like(expected)
    for token in range(VOCABULARY):
        log_p = log_probs(logits)[token]
        weight = log_p.detach().exp()
        (gradient,) = torch.autograd.grad(sampled_token_surrogate(log_p, log_q[token]), logits)
        average += weight * gradient
        naive += weight * torch.autograd.grad(log_probs(logits)[token] - log_q[token], logits)[0]
    torch.testing.assert_close(average, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(naive, torch.zeros_like(naive), rtol=0, atol=1e-12)
