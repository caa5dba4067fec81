"""One frozen network with several adapters in one batch.

Shapes: B rows, T tokens of the longest, M states that are read of a row, D hidden size.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from torch import Tensor

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

    An adapter `a+b` is the sum of adapters a and b, as concatenated low-rank factors.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    @torch.no_grad()
    def read(self, rows: Sequence[PIRow], *, keep: bool = False) -> list[Read]:
        """One forward pass. keep: its keys and values too."""
        device = self.network.head.device
        longest = max(len(row.ids) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)  # what pads is never looked back at
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = torch.from_numpy(row.ids)
        positions = torch.arange(longest, device=device).expand(len(rows), -1)
        with (
            self.adapters([row.adapter for row in rows]),
            keeping_prefix(self.network, wanted=keep) as prefix,
        ):
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


def _part(values: Tensor, *, number: int, length: int) -> Tensor:
    return values[number : number + 1, :, :length]
