"""Keys and values of a forward pass, kept as it goes by, for what continues it.

The pass itself stays what it is, to the bit, with activation checkpointing and gradient too.
Shapes: R rows, K key-value heads, T tokens, D size of a head.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

if TYPE_CHECKING:
    from trainers.engine.networks import Network


class Prefix:
    """Keys and values `(R, K, T, D)` of each layer, as attention sees them."""

    def __init__(self) -> None:
        self.layers: list[tuple[Tensor, Tensor]] = []

    @property
    def length(self) -> int:
        """T."""
        return self.layers[0][0].shape[2]

    def detach(self) -> "Prefix":
        """The same without gradient."""
        return self.map(Tensor.detach)

    def map(self, change: Any) -> "Prefix":
        """The result of `change` for all keys and values."""
        found = Prefix()
        found.layers = [(change(keys), change(values)) for keys, values in self.layers]
        return found


def join(prefixes: Sequence[Prefix]) -> Prefix:
    """Prefixes behind one another."""
    found = Prefix()
    layers = zip(*(each.layers for each in prefixes), strict=True)
    found.layers = [
        (torch.cat([keys for keys, _ in layer], 2), torch.cat([values for _, values in layer], 2))
        for layer in layers
    ]
    return found


_KEPT: ContextVar[Prefix] = ContextVar("kept")


@contextmanager
def keeping_prefix(network: "Network", *, wanted: bool = True) -> Iterator[Prefix]:
    """Fill the prefix that it gives from the one forward pass that is made inside."""
    prefix = Prefix()
    if not wanted:
        yield prefix
        return
    config = network.causal.config
    before = config._attn_implementation
    config._attn_implementation = _implementation(before)
    token = _KEPT.set(prefix)
    try:
        yield prefix
    finally:
        _KEPT.reset(token)
        config._attn_implementation = before


def _implementation(inner: str) -> str:
    """The name of an attention that does as `inner` does, and keeps keys and values."""
    name = f"kept_{inner}"
    if name not in ALL_ATTENTION_FUNCTIONS.valid_keys():
        attend = ALL_ATTENTION_FUNCTIONS[inner]

        def keep(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
        ) -> Any:
            _KEPT.get().layers.append((key, value))
            return attend(module, query, key, value, *args, **kwargs)

        AttentionInterface.register(name, keep)
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[inner])
    return name
