"""Chunks give what the whole gives, in value and gradient, and hold no more than a chunk."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainers.losses.chunked import Projection, over_tokens
from trainers.losses.divergences import entropy, kl, log_probs, total_variation

TOKENS, HIDDEN, WIDE, VOCABULARY = 23, 6, 9, 31


def body(student: Tensor, teacher: Tensor, weights: Tensor) -> dict[str, Tensor]:
    log_p, log_q = log_probs(student), log_probs(teacher)
    return {
        "loss": weights * kl(log_p, log_q),
        "entropy": entropy(log_q),
        "tv": total_variation(log_p, log_q).detach(),
        "largest": student.detach().argmax(-1),
    }


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return {
        "student": draw(TOKENS, HIDDEN).requires_grad_(),
        "student_head": draw(VOCABULARY, HIDDEN).requires_grad_(),
        "teacher": draw(TOKENS, WIDE),
        "teacher_head": draw(VOCABULARY, WIDE),
        "weights": draw(TOKENS),
    }


def run(tensors: dict[str, Tensor], chunk: int, of: str | None = None) -> dict[str, Tensor]:
    student = Projection(tensors["student"], tensors["student_head"])
    teacher = Projection(tensors["teacher"], tensors["teacher_head"])
    weights = tensors["weights"]
    return over_tokens(body, [student, teacher], weights, chunk=chunk, gradient_of=of)


@pytest.mark.parametrize("chunk", [1, 5, 23, 64])
@pytest.mark.parametrize("of", [None, "loss"])
@pytest.mark.parametrize("scale", ["one", "same", "each"])
def test_chunks_give_what_the_whole_gives(
    tensors: dict[str, Tensor], chunk: int, of: str | None, scale: str
) -> None:
    whole = body(
        tensors["student"] @ tensors["student_head"].T,
        tensors["teacher"] @ tensors["teacher_head"].T,
        tensors["weights"],
    )
    learnt = [tensors["student"], tensors["student_head"]]
    steps = torch.arange(TOKENS, dtype=torch.float64)
    factor = {"one": torch.ones(TOKENS), "same": torch.full((TOKENS,), 0.3), "each": steps}[scale]
    expected = torch.autograd.grad((factor * whole["loss"]).sum(), learnt)
    found = run(tensors, chunk, of)
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value)
    gradients = torch.autograd.grad((factor * found["loss"]).sum(), learnt)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("of", [None, "loss"])
def test_a_frozen_head_gets_no_gradient(tensors: dict[str, Tensor], of: str | None) -> None:
    tensors["student_head"].requires_grad_(False)
    torch.autograd.backward(run(tensors, 4, of)["loss"].sum())
    assert tensors["student"].grad is not None
    assert tensors["student_head"].grad is None
    assert tensors["teacher"].grad is None


class Sizes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The largest tensor that is made."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self.largest = max(self.largest, each.numel())
        return made


@pytest.mark.parametrize("of", [None, "loss"])
def test_nothing_of_tokens_times_vocabulary_is_made(
    tensors: dict[str, Tensor], of: str | None
) -> None:
    with Sizes() as sizes:  # type: ignore[no-untyped-call]
        torch.autograd.backward(run(tensors, 4, of)["loss"].sum())
    assert sizes.largest == VOCABULARY * WIDE  # a transposed head
    assert sizes.largest < VOCABULARY * TOKENS


def test_the_body_runs_once_where_one_gradient_is_wanted(tensors: dict[str, Tensor]) -> None:
    calls = []

    def counting(*parts: Tensor) -> dict[str, Tensor]:
        calls.append(len(parts))
        return body(*parts)

    student = Projection(tensors["student"], tensors["student_head"])
    teacher = Projection(tensors["teacher"], tensors["teacher_head"])
    weights = tensors["weights"]
    found = over_tokens(counting, [student, teacher], weights, chunk=12, gradient_of="loss")
    torch.autograd.backward((0.5 * found["loss"]).sum())
    assert calls == [3, 3]
    assert not found["entropy"].requires_grad
    with torch.no_grad():
        assert not run(tensors, 4, "loss")["loss"].requires_grad


def test_tensors_that_do_not_belong_together_are_refused(tensors: dict[str, Tensor]) -> None:
    student = Projection(tensors["student"], tensors["student_head"])
    with pytest.raises(ValueError, match=r"\[23, 22\] tokens"):
        over_tokens(body, [student], tensors["weights"][1:], chunk=4)
    larger = Projection(tensors["teacher"], torch.zeros(VOCABULARY + 1, WIDE, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"\[31, 32\] ids"):
        over_tokens(body, [student, larger], chunk=4)
