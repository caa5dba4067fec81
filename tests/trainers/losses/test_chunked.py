"""Chunks give what the whole gives, in value and gradient, and hold no more than a chunk."""

import pytest
import torch
from torch import Tensor

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


def run(tensors: dict[str, Tensor], chunk: int) -> dict[str, Tensor]:
    student = Projection(tensors["student"], tensors["student_head"])
    teacher = Projection(tensors["teacher"], tensors["teacher_head"])
    return over_tokens(body, [student, teacher], tensors["weights"], chunk=chunk)


@pytest.mark.parametrize("chunk", [1, 5, 23, 64])
def test_chunks_give_what_the_whole_gives(tensors: dict[str, Tensor], chunk: int) -> None:
    whole = body(
        tensors["student"] @ tensors["student_head"].T,
        tensors["teacher"] @ tensors["teacher_head"].T,
        tensors["weights"],
    )
    learnt = [tensors["student"], tensors["student_head"]]
    expected = torch.autograd.grad(whole["loss"].sum(), learnt)
    found = run(tensors, chunk)
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value)
    gradients = torch.autograd.grad(found["loss"].sum(), learnt)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_frozen_head_gets_no_gradient(tensors: dict[str, Tensor]) -> None:
    tensors["student_head"].requires_grad_(False)
    torch.autograd.backward(run(tensors, 4)["loss"].sum())
    assert tensors["student"].grad is not None
    assert tensors["student_head"].grad is None
    assert tensors["teacher"].grad is None


def test_nothing_of_tokens_times_vocabulary_is_kept(tensors: dict[str, Tensor]) -> None:
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(tensors, 4)["loss"].sum()
    assert max(kept) <= max(VOCABULARY * WIDE, TOKENS * WIDE)
    assert max(kept) < VOCABULARY * TOKENS


def test_tensors_that_do_not_belong_together_are_refused(tensors: dict[str, Tensor]) -> None:
    student = Projection(tensors["student"], tensors["student_head"])
    with pytest.raises(ValueError, match=r"\[23, 22\] tokens"):
        over_tokens(body, [student], tensors["weights"][1:], chunk=4)
    larger = Projection(tensors["teacher"], torch.zeros(VOCABULARY + 1, WIDE, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"\[31, 32\] ids"):
        over_tokens(body, [student, larger], chunk=4)
