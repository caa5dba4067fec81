"""One frozen network with several adapters in one batch.

Shapes: B rows, T tokens of the longest, M states that are read of a row, D hidden size.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from torch import Tensor
from torch.nn.functional import linear

from trainers.engine.networks import Network
from trainers.segments.prefixes import Prefix, keeping_prefix
from trainers.teachers.pi_rows import BASE, PIRow


class Read(NamedTuple):
    """A row, its hidden states `(M, D)`, and its keys and values where they were to be kept."""

    row: PIRow
    hidden: Tensor
    prefix: Prefix


class AdapterNetwork:
    """Runs rows through a network, each with its own adapter or none.

    An adapter `a+b` is the sum of adapters a and b, as concatenated low-rank factors. merge: add it
    to the weights while rows are read, a pass for each adapter, instead of one pass with all.
    """

    def __init__(self, network: Network, *, merge: bool = False) -> None:
        self.network = network
        self._merge = merge

    @torch.no_grad()
    def read(self, rows: Sequence[PIRow], *, keep: bool = False) -> list[Read]:
        """Rows in their order. keep: their keys and values too."""
        if not self._merge:
            with self.adapters([row.adapter for row in rows]):
                return self._pass(rows, keep)
        found: dict[int, Read] = {}
        for name in dict.fromkeys(row.adapter for row in rows):
            numbers = [number for number, row in enumerate(rows) if row.adapter == name]
            with self.adapters([name] * len(numbers)), self._merged(name):
                reads = self._pass([rows[number] for number in numbers], keep)
            found |= dict(zip(numbers, reads, strict=True))
        return [found[number] for number in range(len(rows))]

    def _pass(self, rows: Sequence[PIRow], keep: bool) -> list[Read]:
        device = self.network.head.device
        longest = max(len(row.ids) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)  # what pads is never looked back at
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = torch.from_numpy(row.ids)
        positions = torch.arange(longest, device=device).expand(len(rows), -1)
        with keeping_prefix(self.network, wanted=keep) as prefix:
            output = self.network.causal.base_model(
                input_ids=ids.to(device), position_ids=positions, use_cache=False
            )
        found = []
        for number, row in enumerate(rows):
            states = torch.from_numpy(row.states).to(device)
            alone = prefix.map(partial(_part, number=number, length=len(row.ids)))
            found.append(Read(row, output.last_hidden_state[number, states], alone))
        return found

    def adapters(self, names: Sequence[str]) -> AbstractContextManager[Any]:
        """Switch an adapter on for each row of the batches that are run inside."""
        model = self.network.model
        if not isinstance(model, PeftModel):
            return nullcontext()
        for name in set(names) - {BASE, *model.peft_config}:
            parts = name.split("+")
            model.add_weighted_adapter(parts, [1.0] * len(parts), name, combination_type="cat")
            model.requires_grad_(False)
        lora: Any = model.base_model
        hooks: AbstractContextManager[Any] = lora._enable_peft_forward_hooks(
            adapter_names=list(names)
        )
        return hooks

    @contextmanager
    def _merged(self, name: str) -> Iterator[None]:
        """Run linear layers with an adapter in their weights, made for that layer's pass."""
        layers: list[Any] = [each for each in self.network.model.modules() if type(each) is Linear]
        for layer in layers:
            layer.forward = partial(_merged_linear, layer, name)
        try:
            yield
        finally:
            for layer in layers:
                del layer.forward


def _merged_linear(layer: Any, name: str, x: Tensor, **_: object) -> Tensor:
    weight = layer.base_layer.weight
    if name in layer.lora_A:
        weight = weight + layer.get_delta_weight(name).to(weight.dtype)
    return linear(x, weight, layer.base_layer.bias)


def _part(values: Tensor, *, number: int, length: int) -> Tensor:
    return values[number : number + 1, :, :length]
