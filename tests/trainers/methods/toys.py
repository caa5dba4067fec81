"""A vocabulary of a few ids, where every expectation can be enumerated."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainers.data.packing import Columns
from trainers.methods.base import Method

VOCABULARY = 6


def logits(seed: int, states: int = 1) -> Tensor:
    """Random logits `(states, V)` in float64."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(states, VOCABULARY, generator=generator, dtype=torch.float64)


def columns(
    sampled: Sequence[int] | Tensor,
    *,
    advantage: Tensor | None = None,
    recorded: Tensor | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Columns:
    """What is known of sampled tokens."""
    ids = torch.as_tensor(sampled)
    ones = torch.ones(len(ids), dtype=torch.float64)
    return Columns(
        sampled=ids,
        outcome=ones,
        advantage=ones if advantage is None else advantage,
        recorded=ones * torch.nan if recorded is None else recorded,
        temperature=ones * temperature,
        top_p=ones * top_p,
        trajectory=torch.zeros_like(ids),
        number=torch.arange(len(ids)),
    )


def gradient(method: Method, student: Tensor, others: Sequence[Tensor], known: Columns) -> Tensor:
    """The gradient of the summed loss at the student's logits."""
    learnt = student.clone().requires_grad_()
    loss = method.tokens([learnt, *others], known)["loss"].sum()
    (found,) = torch.autograd.grad(loss, [learnt])
    return found


def expected_gradient(
    method: Method,
    student: Tensor,
    others: Sequence[Tensor],
    chances: Tensor,
    known: Callable[[Tensor], Columns],
) -> Tensor:
    """The mean over sampled ids of one state, `(V,)`; `chances` `(V,)`: of each id."""
    total = torch.zeros(VOCABULARY, dtype=torch.float64)
    for number in range(VOCABULARY):
        if chances[number] > 0:
            one = gradient(method, student, others, known(torch.tensor([number])))
            total += chances[number] * one[0]
    return total


def at_logits(student: Tensor, slope: Tensor) -> Tensor:
    """The gradient at logits of a function of p with gradient `slope` at p: the chain rule."""
    p = student.softmax(-1)
    return p * (slope - (p * slope).sum(-1, keepdim=True))


def sampler(student: Tensor, temperature: float, top_p: float) -> Tensor:
    """The distribution that a token is drawn from, `(V,)`, one id after another."""
    tempered = (student / temperature).softmax(-1).tolist()
    kept = [0.0] * len(tempered)
    mass = 0.0
    for number in sorted(range(len(tempered)), key=lambda each: -tempered[each]):
        if mass < top_p:
            kept[number] = tempered[number]
            mass += tempered[number]
    return torch.tensor(kept, dtype=torch.float64) / sum(kept)
