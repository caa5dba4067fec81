"""The learning rate and AdamW's groups."""

import math

import pytest
import torch
from torch import nn

from trainers.engine.config import OptimiserSettings
from trainers.engine.optimiser import learning_rate, make_optimiser, moments, set_moments


def rates(**changes: object) -> list[float]:
    settings = OptimiserSettings.model_validate({"steps": 10, "learning_rate": 2.0, **changes})
    return [learning_rate(step, settings) for step in range(10)]


def test_schedules() -> None:
    cosine = [1 + math.cos(math.pi * step / 8) for step in range(8)]
    assert rates(warm_up_steps=2) == pytest.approx([1.0, 2.0, *cosine])
    linear = [2 * (1 - step / 10) for step in range(10)]
    assert rates(schedule="linear") == pytest.approx(linear)
    assert rates(schedule="linear", final_share=0.5) == pytest.approx(
        [1 + each / 2 for each in linear]
    )
    assert rates(schedule="constant", final_share=0.5) == [2.0] * 10
    assert rates(schedule="constant", warm_up_steps=10)[-1] == 2.0


def test_matrices_decay_and_vectors_do_not() -> None:
    parameters = {
        "matrix": nn.Parameter(torch.ones(2, 2)),
        "norm": nn.Parameter(torch.ones(2)),
    }
    settings = OptimiserSettings(steps=1, learning_rate=0.5, weight_decay=0.1)
    optimiser = make_optimiser(parameters, settings)
    for each in parameters.values():
        each.grad = torch.zeros_like(each)
    optimiser.step()
    assert parameters["matrix"].tolist() == [[pytest.approx(0.95)] * 2] * 2
    assert parameters["norm"].tolist() == [1.0, 1.0]


def test_moments_survive() -> None:
    def stepped(weights: torch.Tensor) -> tuple[torch.optim.AdamW, dict[str, nn.Parameter]]:
        parameters = {"a:b": nn.Parameter(weights)}
        return make_optimiser(parameters, OptimiserSettings(steps=9)), parameters

    first, one = stepped(torch.ones(2, 2))
    for gradient in (1.0, -3.0):
        one["a:b"].grad = torch.full((2, 2), gradient)
        first.step()
    second, other = stepped(one["a:b"].detach().clone())
    set_moments(second, other, {n: v.clone() for n, v in moments(first, one).items()})
    for optimiser, parameters in ((first, one), (second, other)):
        parameters["a:b"].grad = torch.full((2, 2), 0.5)
        optimiser.step()
    assert torch.equal(one["a:b"], other["a:b"])
