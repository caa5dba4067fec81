"""Sliced Wasserstein and MMD: against POT, and against what can be worked out by hand."""

import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainers.segments.mmd import mmd_squared
from trainers.segments.wasserstein import (
    sliced_wasserstein_squared,
    transport_costs,
    unit_projections,
)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def directions(dimension: int, count: int = 32) -> Tensor:
    return unit_projections(count, dimension, torch.Generator().manual_seed(9)).double()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_it_is_the_square_of_pots_distance(k: int, m: int, dimension: int, seed: int) -> None:
    first, second = draw(seed, k, dimension), draw(seed + 1, m, dimension)
    ours = sliced_wasserstein_squared(first, second, directions(dimension)).item()
    theirs = ot.sliced_wasserstein_distance(
        first.numpy(), second.numpy(), projections=directions(dimension).numpy().T
    )
    assert ours == pytest.approx(float(theirs) ** 2, rel=1e-9)


def test_equal_multisets_are_at_distance_zero_and_others_are_not() -> None:
    points = draw(0, 6, 4)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert sliced_wasserstein_squared(points, points[order], directions(4)).item() < 1e-30
    doubled = torch.cat([points, points])
    assert sliced_wasserstein_squared(points, doubled, directions(4)).item() < 1e-30
    moved = points.clone()
    moved[0] += 0.1
    assert sliced_wasserstein_squared(points, moved, directions(4)).item() > 1e-5


def test_a_common_rotation_of_points_and_projections_changes_nothing() -> None:
    first, second = draw(1, 5, 4), draw(2, 8, 4)
    rotation = torch.linalg.qr(draw(3, 4, 4)).Q
    plain = sliced_wasserstein_squared(first, second, directions(4))
    turned = sliced_wasserstein_squared(
        first @ rotation, second @ rotation, directions(4) @ rotation
    )
    torch.testing.assert_close(plain, turned)


def test_costs_belong_to_the_points_that_pay_them() -> None:
    teacher = torch.tensor([[0.0], [10.0]])
    student = torch.tensor([[13.0], [0.0]])
    costs = transport_costs(teacher, student, torch.ones(1, 1))
    assert costs.tolist() == [[9 / 2, 0.0]]
    uneven = transport_costs(teacher, torch.tensor([[1.0]]), torch.ones(1, 1))
    assert uneven.tolist() == [[1 / 2 + 81 / 2]]


def test_projections_are_unit_vectors_in_all_directions() -> None:
    found = unit_projections(4000, 3, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(found.norm(dim=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(found.T @ found / 4000, np.eye(3) / 3, atol=0.03)


def test_mmd_of_two_points_has_a_closed_form() -> None:
    found = mmd_squared(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]]))
    assert found.item() == pytest.approx(2 - 2 * math.exp(-1 / 2), rel=1e-6)


def test_mmd_of_equal_sets_is_zero() -> None:
    points = draw(5, 4, 3)
    assert mmd_squared(points, points).item() == pytest.approx(0, abs=1e-12)
    same = torch.zeros(3, 2)
    assert mmd_squared(same, same).item() == pytest.approx(0, abs=1e-12)
