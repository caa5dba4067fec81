"""Functions of logits without ever holding tokens times vocabulary.

Shapes: T tokens, C tokens of a chunk, D hidden size, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from trainers.losses.sources import Projection as Projection
from trainers.losses.sources import Source as Source

Body = Callable[..., Mapping[str, Tensor]]


def over_tokens(
    body: Body,
    sources: Sequence[Source],
    *aligned: Tensor,
    chunk: int,
    gradient_of: str | None = None,
) -> dict[str, Tensor]:
    """Apply `body(logits…, aligned…)` to `chunk` tokens at a time and join what it returns.

    `body` gets one `(C, V)` tensor of logits for each source, then the chunk of each `aligned`
    tensor `(T, …)`; it returns tensors `(C, …)`, in each of which a token's value depends on that
    token alone. Its work is done again in the backward pass instead of being stored. A source that
    needs no gradient costs none.

    gradient_of: the only result `(C,)` that will be differentiated, by the first source's tensors
    alone (a `Projection`). Nothing is then done again: gradients are made with the values, and
    weighted in the backward pass.

    Raises ValueError when the tensors have different numbers of tokens, or the sources'
    vocabularies differ.
    """
    columns = [each for source in sources for each in source.columns] + list(aligned)
    lengths = [each.shape[0] for each in columns]
    if len(set(lengths)) > 1:
        raise ValueError(f"tensors of {lengths} tokens do not belong together")
    sizes = {source.vocabulary for source in sources}
    if len(sizes) > 1:
        raise ValueError(
            f"vocabularies of {sorted(sizes)} ids: cut the heads to the ids that the models share"
        )
    learner = sources[0]
    if gradient_of is not None and torch.is_grad_enabled() and isinstance(learner, Projection):
        return _with_gradients(body, learner, sources[1:], aligned, chunk, gradient_of)

    def step(*parts: Tensor) -> dict[str, Tensor]:
        return dict(body(*_logits(sources, parts)))

    pieces = [
        checkpoint(step, *parts, use_reentrant=False, preserve_rng_state=False)
        for parts in _chunks(columns, chunk)
    ]
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def _chunks(columns: Sequence[Tensor], chunk: int) -> list[list[Tensor]]:
    starts = range(0, columns[0].shape[0], chunk)
    return [[each[start : start + chunk] for each in columns] for start in starts]


def _logits(sources: Sequence[Source], parts: Sequence[Tensor]) -> list[Tensor]:
    """The sources' logits, then the parts that are left."""
    found = []
    for source in sources:
        count = len(source.columns)
        found.append(source.logits(*parts[:count]))
        parts = parts[count:]
    return [*found, *parts]


def _with_gradients(
    body: Body,
    learner: Projection,
    others: Sequence[Source],
    aligned: Sequence[Tensor],
    chunk: int,
    name: str,
) -> dict[str, Tensor]:
    """`over_tokens` with the gradients of one result made in the forward pass."""
    hidden, head = learner
    columns = [hidden, *(each for other in others for each in other.columns), *aligned]
    pieces: list[dict[str, Tensor]] = []

    def sweep(weights: Tensor | None, wanted: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
        """Gradients of the weighted sum by hidden states and head, those that are wanted."""
        by_hidden = torch.zeros_like(hidden) if wanted[0] else None
        wide = torch.promote_types(head.dtype, torch.float32)
        by_head = torch.zeros_like(head, dtype=wide) if wanted[1] else None
        for number, parts in enumerate(_chunks([each.detach() for each in columns], chunk)):
            logits = learner.logits(parts[0]).detach().requires_grad_(any(wanted))
            rest = _logits(others, parts[1:])
            start = number * chunk
            with torch.enable_grad():
                found = dict(body(logits, *rest))
                total = found[name]
                if weights is not None:
                    total = total * weights[start : start + chunk]
                total = total.sum()
            if weights is None:
                pieces.append({key: value.detach() for key, value in found.items()})
            if not total.requires_grad:
                continue
            (by_logits,) = torch.autograd.grad(total, logits)
            del found, rest, total, logits
            if by_hidden is not None:
                torch.mm(by_logits, head.detach(), out=by_hidden[start : start + chunk])
            if by_head is not None and wide is head.dtype:
                by_head.addmm_(by_logits.T, parts[0])
            elif by_head is not None:
                by_head += by_logits.T @ parts[0]
        return by_hidden, None if by_head is None else by_head.to(head.dtype)

    with torch.no_grad():
        kept = sweep(None, (hidden.requires_grad, head.requires_grad))
    found = {key: torch.cat([piece[key] for piece in pieces]) for key in pieces[0]}
    found[name] = _Attached.apply(found[name], hidden, head, kept, sweep)  # type: ignore[no-untyped-call]
    return found


class _Attached(torch.autograd.Function):
    """Values `(T,)` whose gradients are known already, for a weight of 1 on each token."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, hidden: Tensor, head: Tensor, kept: Any, sweep: Any
    ) -> Tensor:
        ctx.kept, ctx.sweep = kept, sweep
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        by_hidden, by_head = ctx.kept
        (weight,) = weights
        if by_hidden is not None:
            by_hidden = by_hidden * weight[:, None].to(by_hidden.dtype)
        if by_head is not None and bool((weight == weight[0]).all()):
            by_head = by_head * weight[0].to(by_head.dtype)
        elif by_head is not None:
            with torch.no_grad():
                by_head = ctx.sweep(weight, (False, True))[1]
        return None, by_hidden, by_head, None, None
