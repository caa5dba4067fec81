"""Composition of adapters in logit space."""

import itertools

import pytest
import torch

from trainers.teachers.compose import compose_logits


def test_no_adapter_is_the_base_and_one_is_that_adapter() -> None:
    base, one = torch.randn(2, 3, 5, dtype=torch.bfloat16)
    assert compose_logits(base, []) is base
    assert compose_logits(base, [one]) is one


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shifts_add_and_their_order_does_not_matter(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    base, *adapted = torch.randn(5, 7, 11, generator=generator).to(dtype)
    exact = base.double() + sum(each.double() - base.double() for each in adapted)
    results = [compose_logits(base, order) for order in itertools.permutations(adapted)]
    assert all(torch.equal(results[0], other) for other in results)
    assert results[0].dtype == torch.float32
    torch.testing.assert_close(results[0].double(), exact, rtol=0, atol=1e-5)


def test_it_is_the_product_of_distributions() -> None:
    base, one, two = torch.randn(3, 6, dtype=torch.float64).log_softmax(-1)
    product = base.exp() * (one - base).exp() * (two - base).exp()
    composed = compose_logits(base, [one, two]).softmax(-1)
    torch.testing.assert_close(composed, product / product.sum())
