"""AdamW, and how its learning rate goes."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainers.engine.config import OptimiserSettings
from trainers.engine.ranks import like, whole


def learning_rate(step: int, settings: OptimiserSettings) -> float:
    """The rate of a step, counted from 0: up in a line, then down as the schedule says."""
    if step < settings.warm_up_steps:
        return settings.learning_rate * (step + 1) / settings.warm_up_steps
    left = settings.steps - settings.warm_up_steps
    done = (step - settings.warm_up_steps) / left
    share = {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
    }[settings.schedule]
    low = settings.final_share if settings.schedule != "constant" else 0.0
    return settings.learning_rate * (low + (1 - low) * share)


def make_optimiser(
    parameters: Mapping[str, nn.Parameter], settings: OptimiserSettings
) -> torch.optim.AdamW:
    """AdamW that decays matrices, and neither norms nor biases."""
    decayed = [each for each in parameters.values() if each.ndim > 1]
    others = [each for each in parameters.values() if each.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
    )


def moments(
    optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """The optimiser's state by the name of the parameter and its own."""
    return {
        f"{name}:{key}": whole(value)
        for name, parameter in parameters.items()
        for key, value in optimiser.state[parameter].items()
    }


def set_moments(
    optimiser: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    found: Mapping[str, Tensor],
) -> None:
    """The inverse of `moments`."""
    for path, values in found.items():
        name, _, key = path.rpartition(":")
        parameter = parameters[name]
        laid_out = values if key == "step" else like(values, parameter)
        optimiser.state[parameter][key] = laid_out
