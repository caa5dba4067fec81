"""MiniLLM: every sequence of a toy, and its clip."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers.methods.toys import VOCABULARY, at_logits, columns, gradient, logits
from tests.trainers.omniopd.material import beginning
from trainers.data.errors import DataError
from trainers.data.packing import make_row
from trainers.data.trajectories import Trajectory, Turn
from trainers.losses.chunked import Projection
from trainers.methods.base import Role
from trainers.methods.minillm import MiniLLM, later_mean

NOTHING: Any = None


class Sequences:
    """A student and a teacher of two tokens, the second given the first."""

    def __init__(self) -> None:
        self.student = (logits(5), logits(6, VOCABULARY))
        self.teacher = (logits(7), logits(8, VOCABULARY))

    def states(self, of: tuple[Tensor, Tensor], first: int) -> Tensor:
        """Logits before both tokens, `(2, V)`."""
        return torch.cat([of[0], of[1][[first]]])

    def joint(self, of: tuple[Tensor, Tensor]) -> Tensor:
        """Log-probabilities `(V, V)` of both tokens."""
        return of[0].log_softmax(-1)[0][:, None] + of[1].log_softmax(-1)


class FixedTeacher:
    """Says what it was given."""

    def __init__(self, states: Tensor) -> None:
        self.states = states

    def project(self, trajectories: Any) -> Projection:
        return Projection(self.states, torch.eye(VOCABULARY, dtype=self.states.dtype))


def begun(method: MiniLLM, one: Trajectory, teacher: Tensor) -> MiniLLM:
    teachers: Any = {Role.TEACHER: FixedTeacher(teacher)}
    method.begin(NOTHING, 0, replace(beginning([one]), teachers=teachers, chunk=1))
    method.begin_row(make_row([one]), 0, 0)
    return method


def two_tokens(first: int, second: int, recorded: Tensor) -> Trajectory:
    ids = np.array([0, first, second], np.int32)
    log_probs = np.array([np.nan, *recorded.tolist()], np.float32)
    return Trajectory("r/a/0#0", "a", "student", ids, (Turn(1, 3, 1.0, 1.0),), log_probs)


def test_minillm_has_the_gradient_of_the_kl_of_sequences() -> None:
    """Every sequence of two tokens; the mean over one later reward is the sum of them."""
    toy = Sequences()
    first_step, second_step = (each.clone().requires_grad_() for each in toy.student)
    learnt = (first_step, second_step)
    joint, other = toy.joint(learnt), toy.joint(toy.teacher)
    exact = torch.autograd.grad((joint.exp() * (joint - other)).sum(), learnt)
    total = [torch.zeros_like(each) for each in toy.student]
    for first in range(VOCABULARY):
        for second in range(VOCABULARY):
            student, teacher = (toy.states(of, first) for of in (learnt, toy.teacher))
            recorded = student.detach().log_softmax(-1)[[0, 1], [first, second]]
            one = two_tokens(first, second, recorded)
            method = begun(MiniLLM(), one, teacher)
            known = columns([first, second], recorded=recorded)
            loss = method.tokens([student, teacher], known)["loss"].sum()
            for sum_, part in zip(total, torch.autograd.grad(loss, learnt), strict=True):
                sum_ += joint[first, second].exp().detach() * part
    for found, expected in zip(total, exact, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("moved", "stops"), [(0.5, True), (-0.5, False)])
def test_minillm_does_not_go_further_than_its_clip(moved: float, stops: bool) -> None:
    """The teacher likes the second token better than its sampler did: the first was good."""
    student, teacher = logits(5, 2), logits(6, 2)
    now = student.log_softmax(-1)[[0, 1], [1, 2]]
    recorded = now - moved
    recorded[1] = teacher.log_softmax(-1)[1, 2] - 3
    method = begun(MiniLLM(), two_tokens(1, 2, recorded), teacher)
    found = gradient(method, student, [teacher], columns([1, 2], recorded=recorded))
    p, q = student.softmax(-1), teacher.softmax(-1)
    step = at_logits(student, (p / q).log())
    given = torch.eye(VOCABULARY, dtype=torch.float64)[1]
    later = 0 if stops else math.exp(moved) * 3 * (given - p[0])
    torch.testing.assert_close(found[0], step[0] - later, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], step[1], rtol=1e-5, atol=1e-6)
    tempered = columns([1, 2], recorded=recorded, temperature=0.7)
    ratio = (p / (student / 0.7).softmax(-1))[[0, 1], [1, 2]].clamp(max=4)
    weighed = gradient(method, student, [teacher], tempered)
    torch.testing.assert_close(weighed, ratio[:, None] * found, rtol=1e-5, atol=1e-6)


def test_minillm_asks_its_teacher_once_for_a_trajectory() -> None:
    student, teacher = logits(5, 2), logits(6, 2)
    recorded = student.log_softmax(-1)[[0, 1], [1, 2]]
    one = two_tokens(1, 2, recorded)
    method = begun(MiniLLM(), one, teacher)
    later = method.tokens([student, teacher], columns([1, 2], recorded=recorded))["later"]
    begun(method, one, teacher * 0)
    again = method.tokens([student, teacher], columns([1, 2], recorded=recorded))["later"]
    assert torch.equal(later, again)
    with pytest.raises(DataError, match="has no log-probabilities"):
        method.prepare([two_tokens(1, 2, recorded * torch.nan)])


def test_what_comes_later_is_a_mean() -> None:
    found = later_mean(torch.tensor([100.0, 1, 2, 6]))
    assert found.tolist() == [3, 4, 6, 0]
    assert later_mean(torch.tensor([5.0])).tolist() == [0]
