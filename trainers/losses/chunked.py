"""Functions of logits without ever holding tokens times vocabulary.

Shapes: T tokens, C tokens of a chunk, D hidden size, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Body = Callable[..., Mapping[str, Tensor]]


class Projection(NamedTuple):
    """What gives logits: last hidden states `(T, D)` and an output embedding `(V, D)`."""

    hidden: Tensor
    head: Tensor


def over_tokens(
    body: Body, projections: Sequence[Projection], *aligned: Tensor, chunk: int
) -> dict[str, Tensor]:
    """Apply `body(logits…, aligned…)` to `chunk` tokens at a time and join what it returns.

    `body` gets one `(C, V)` tensor of logits for each projection, then the chunk of each `aligned`
    tensor `(T, …)`; it returns tensors `(C, …)`. Its work is done again in the backward pass
    instead of being stored. A projection that needs no gradient costs none.

    Raises ValueError when the tensors have different numbers of tokens, or the heads' vocabularies
    differ.
    """
    tokens = projections[0].hidden.shape[0]
    lengths = [each.hidden.shape[0] for each in projections] + [each.shape[0] for each in aligned]
    if any(length != tokens for length in lengths):
        raise ValueError(f"tensors of {lengths} tokens do not belong together")
    sizes = {each.head.shape[0] for each in projections}
    if len(sizes) > 1:
        raise ValueError(
            f"vocabularies of {sorted(sizes)} ids: cut the heads to the ids that the models share"
        )
    heads = [each.head for each in projections]
    count = len(projections)

    def step(*parts: Tensor) -> dict[str, Tensor]:
        logits = [hidden @ head.T for hidden, head in zip(parts, heads, strict=False)]
        return dict(body(*logits, *parts[count:]))

    pieces: list[dict[str, Tensor]] = []
    for start in range(0, tokens, chunk):
        parts = [each.hidden[start : start + chunk] for each in projections]
        parts += [each[start : start + chunk] for each in aligned]
        pieces.append(checkpoint(step, *parts, use_reentrant=False, preserve_rng_state=False))
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
