"""One process or many: who does which rows, and what they add up.

Started by `torchrun`, each process is a rank; without it, there is one. Every rank knows the whole
batch, so that only gradients and sums have to travel.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from trainers.engine.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among all."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def share(self, rows: Sequence[T]) -> list[tuple[T, float]]:
        """This rank's rows, each with weight 1.

        Every rank gets as many, so that they meet at each exchange: where rows run out, one is
        repeated with weight 0.
        """
        mine = [(row, 1.0) for row in rows[self.rank :: self.world]]
        count = -(-len(rows) // self.world)
        return mine + [(rows[0], 0.0)] * (count - len(mine))

    def add_up(self, numbers: dict[str, float]) -> dict[str, float]:
        """The sums over all ranks of numbers that each has."""
        if self.world == 1:
            return numbers
        values = torch.tensor(list(numbers.values()), dtype=torch.float64, device=self.device)
        distributed.all_reduce(values)
        return dict(zip(numbers, values.tolist(), strict=True))

    def add_up_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients of parameters that every rank has whole."""
        if self.world == 1:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        joint = torch.cat([each.flatten() for each in gradients])
        distributed.all_reduce(joint)
        parts = torch.split(joint, [each.numel() for each in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def gather(self, found: T) -> list[T]:
        """What every rank found, in their order."""
        if self.world == 1:
            return [found]
        everything: list[Any] = [None] * self.world
        distributed.all_gather_object(everything, found)
        return everything

    def meet(self) -> None:
        """Wait until every rank is here."""
        if self.world > 1:
            distributed.barrier()


def join_ranks(device: str) -> Ranks:
    """Find the other processes that `torchrun` started. `device`: `auto`, `cpu` or `cuda`."""
    kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if device == "cuda" and kind == "cpu":
        raise ConfigError("device: no CUDA device here; set device to cpu or auto")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local) if kind == "cuda" else torch.device("cpu")
    if kind == "cuda":
        torch.cuda.set_device(place)
    if world > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    return Ranks(int(os.environ.get("RANK", "0")), world, place)


def shard(network: nn.Module, layers: Sequence[nn.Module]) -> None:
    """Give each rank a part of every weight; layers are gathered one at a time.

    Gradients become means over ranks, where `add_up_gradients` makes sums.
    """
    for layer in layers:
        fully_shard(layer)
    fully_shard(network, reshard_after_forward=False)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on the CPU; every rank has to ask for it."""
    found = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return found.detach().cpu()


def like(values: Tensor, target: Tensor) -> Tensor:
    """Values laid out over devices and ranks as `target` is."""
    if isinstance(target, DTensor):
        return distribute_tensor(values.to(target.device), target.device_mesh, target.placements)
    return values.to(target.device)
