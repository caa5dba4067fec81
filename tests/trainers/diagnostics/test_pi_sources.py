"""Shapley values and information on games and worlds that can be enumerated."""

from collections.abc import Mapping
from itertools import permutations
from math import log

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.diagnostics.pi_sources import coalitions, shapley, source_quantities
from trainers.losses.divergences import log_probs, total_variation


def _logits(sources: str, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(6, 9, generator=generator, dtype=torch.float64)
    shift = {name: torch.randn(6, 9, generator=generator).double() for name in sources}
    return base, {name: base + each for name, each in shift.items()}


def test_all_sets_of_sources() -> None:
    found = coalitions(["a", "b", "c"])
    assert len(found) == len(set(found)) == 8
    assert found[0] == frozenset()
    with pytest.raises(ValueError, match="5 sources have 32"):
        coalitions(list("abcde"))


def test_shapley_is_the_mean_over_all_orders() -> None:
    sources = list("abcd")
    generator = torch.Generator().manual_seed(0)
    values = {one: torch.rand(3, generator=generator).double() for one in coalitions(sources)}
    orders = list(permutations(sources))
    for source in sources:
        gains = []
        for order in orders:
            before = frozenset(order[: order.index(source)])
            gains.append(values[before | {source}] - values[before])
        assert torch.allclose(shapley(values, sources)[source], torch.stack(gains).mean(0))
    whole = torch.stack(list(shapley(values, sources).values())).sum(0)
    assert torch.allclose(whole, values[frozenset(sources)] - values[frozenset()])


def test_parts_of_kappa_add_up_to_it() -> None:
    base, adapted = _logits("abc")
    found = source_quantities(base, adapted)
    composed = base + sum(each - base for each in adapted.values())
    kappa = total_variation(log_probs(base), log_probs(composed))
    parts = torch.stack([found[f"shapley/{name}"] for name in "abc"]).sum(0)
    assert torch.allclose(parts, kappa, atol=1e-6)
    alone = source_quantities(base, {"a": adapted["a"]})
    assert torch.allclose(alone["shapley/a"], alone["kappa/a"])
    # a source that changes nothing has no part
    idle = source_quantities(base, adapted | {"d": base})
    assert torch.allclose(idle["shapley/d"], torch.zeros(6).double(), atol=1e-6)
    assert torch.allclose(idle["shapley/b"], found["shapley/b"], atol=1e-6)


World = NDArray[np.float64]


def _information(world: World) -> tuple[float, float, float]:
    """I(A; Y), I(B; Y) and I(AB; Y) of a joint distribution `(A, B, Y)`, by their entropies."""

    def entropy(mass: World) -> float:
        flat = mass.ravel()[mass.ravel() > 0]
        return float(-(flat * np.log(flat)).sum())

    y = entropy(world.sum((0, 1)))
    return (
        entropy(world.sum((1, 2))) + y - entropy(world.sum(1)),
        entropy(world.sum((0, 2))) + y - entropy(world.sum(0)),
        entropy(world.sum(2)) + y - entropy(world),
    )


def _overlap(world: World) -> float:
    """Mean overlap over a world's values of A and B, the teachers being its conditionals."""

    def conditional(mass: World) -> Tensor:
        return torch.from_numpy(mass / mass.sum()).clamp_min(1e-12).log()

    base = conditional(world.sum((0, 1)))
    total = 0.0
    for a, b in np.ndindex(world.shape[:2]):
        if world[a, b].sum() == 0:
            continue
        one, two = conditional(world[a].sum(0)), conditional(world[:, b].sum(0))
        both = conditional(world[a, b])
        # logits of b that compose with a's to what both say together
        found = _given(base, one, two, both)
        total += float(world[a, b].sum()) * found
    return total


def _given(base: Tensor, one: Tensor, two: Tensor, both: Tensor) -> float:
    from trainers.losses.divergences import kl

    return float(kl(one, base) + kl(two, base) - kl(both, base))


def test_overlap_is_the_co_information_of_a_world() -> None:
    same, xor = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    for bit in (0, 1):
        same[bit, bit, bit] = 0.5
        for other in (0, 1):
            xor[bit, other, bit ^ other] = 0.25
    mixed = np.random.default_rng(0).dirichlet(np.ones(12)).reshape(2, 2, 3)
    assert _overlap(same) == pytest.approx(log(2), abs=1e-6)
    assert _overlap(xor) == pytest.approx(-log(2), abs=1e-6)
    for world in (same, xor, mixed):
        first, second, joint = _information(world)
        assert _overlap(world) == pytest.approx(first + second - joint, abs=1e-6)


def test_pairs_of_sources() -> None:
    base, adapted = _logits("ab", 1)
    found = source_quantities(base, adapted)
    log_q, one, two = map(log_probs, (base, adapted["a"], adapted["b"]))
    both = log_probs(adapted["a"] + adapted["b"] - base)
    expected = torch.tensor([_given(*each) for each in zip(log_q, one, two, both, strict=True)])
    assert torch.allclose(found["overlap/a+b"], expected.double(), atol=1e-6)
    # contrast: H(mixture) - mean H, what a token tells about which source was given
    mixture = (one.exp() + two.exp()) / 2
    gain = -(mixture * mixture.log()).sum(-1)
    gain += ((one.exp() * one).sum(-1) + (two.exp() * two).sum(-1)) / 2
    assert torch.allclose(found["contrast/a+b"], gain, atol=1e-6)
    twins: Mapping[str, Tensor] = {"a": adapted["a"], "b": adapted["a"]}
    assert torch.allclose(source_quantities(base, twins)["contrast/a+b"], gain * 0, atol=1e-6)
    one_hot = torch.tensor([[40.0, 0, 0], [0, 40.0, 0]]).double()
    apart = source_quantities(one_hot * 0, {"a": one_hot, "b": one_hot.flip(0)})
    assert apart["contrast/a+b"].tolist() == pytest.approx([log(2)] * 2)
