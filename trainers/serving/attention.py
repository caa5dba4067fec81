"""Cached keys and values of several sequences, and attention over them one sequence at a time.

A forward pass is either one chunk of one prompt or one token of each of several sequences. Since
attention never mixes sequences and the dense layers always see a batch of the same shape, what a
sequence computes does not depend, to the bit, on what else is in flight.

Shape suffixes: B rows, H query heads, K key-value heads, L new tokens, S tokens so far, D size.
"""

# ruff: noqa: N803  (shape suffixes)

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

IMPLEMENTATION = "per_sequence"


def register_attention() -> None:
    """Make `attend` known to transformers as the attention implementation `IMPLEMENTATION`."""
    AttentionInterface.register(IMPLEMENTATION, attend)


class SequenceCache:
    """Keys and values of one sequence in all layers, in buffers of a fixed number of tokens."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers."""
        return sum(keys.nbytes + values.nbytes for keys, values in self._layers)

    def write(
        self, layer: int, keys_KLD: torch.Tensor, values_KLD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the new tokens of a layer and return all its keys and values so far.

        The sequence gets longer by `advance`, once all layers are written.
        """
        if layer == len(self._layers):
            self._layers.append((self._buffer(keys_KLD), self._buffer(values_KLD)))
        keys, values = self._layers[layer]
        end = self.length + keys_KLD.shape[1]
        keys[:, self.length : end] = keys_KLD
        values[:, self.length : end] = values_KLD
        return keys[:, :end], values[:, :end]

    def advance(self, tokens: int) -> None:
        """Count the tokens that were written to every layer."""
        self.length += tokens

    def prefix(self, length: int, capacity: int) -> "SequenceCache":
        """A copy of the first `length` tokens with room for `capacity`."""
        copy = SequenceCache(capacity)
        for layer, (keys, values) in enumerate(self._layers):
            copy.write(layer, keys[:, :length], values[:, :length])
        copy.advance(length)
        return copy

    def _buffer(self, like_KLD: torch.Tensor) -> torch.Tensor:
        heads, _, size = like_KLD.shape
        return torch.empty((heads, self.capacity, size), dtype=like_KLD.dtype)


class BatchCache:
    """transformers' cache interface over the rows of one forward pass; an idle row is None."""

    def __init__(self, rows: Sequence[SequenceCache | None]) -> None:
        self._rows = rows

    def update(
        self,
        keys_BKLD: torch.Tensor,
        values_BKLD: torch.Tensor,
        layer_idx: int,
        *_args: Any,
        **_kwargs: Any,
    ) -> tuple[list[torch.Tensor | None], list[torch.Tensor | None]]:
        """Store the new tokens; the keys and values of each row go to `attend` as lists."""
        keys: list[torch.Tensor | None] = []
        values: list[torch.Tensor | None] = []
        for index, row in enumerate(self._rows):
            written = row.write(layer_idx, keys_BKLD[index], values_BKLD[index]) if row else None
            keys.append(written[0] if written else None)
            values.append(written[1] if written else None)
        return keys, values


def attend(
    module: torch.nn.Module,
    query_BHLD: torch.Tensor,
    keys: list[torch.Tensor | None],
    values: list[torch.Tensor | None],
    attention_mask: None,
    scaling: float,
    sliding_window: int | None = None,
    **_kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of every row over its own keys and values, as [B, L, H, D].

    Raises NotImplementedError for a model with sliding-window attention.
    """
    if sliding_window is not None:
        raise NotImplementedError("sliding-window attention")
    rows, heads, length, size = query_BHLD.shape
    output = query_BHLD.new_zeros((rows, length, heads, size))
    for row, (key, value) in enumerate(zip(keys, values, strict=True)):
        if key is None or value is None:
            continue
        query = query_BHLD[row]
        if length == 1:
            grouped = query.reshape(1, key.shape[0], -1, size)
            attended = scaled_dot_product_attention(
                grouped, key.unsqueeze(0), value.unsqueeze(0), scale=scaling
            )
            output[row, 0] = attended.reshape(heads, size)
        else:
            past = key.shape[1] - length
            mask = torch.ones((length, key.shape[1]), dtype=torch.bool).tril(past)
            attended = scaled_dot_product_attention(
                query.unsqueeze(0),
                key.unsqueeze(0),
                value.unsqueeze(0),
                attn_mask=mask,
                scale=scaling,
                enable_gqa=True,
            )
            output[row] = attended[0].transpose(0, 1)
    return output, None
