"""Expected gradients of the methods that learn from sampled tokens."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers.methods.toys import (
    VOCABULARY,
    at_logits,
    columns,
    expected_gradient,
    gradient,
    logits,
    sampler,
)
from trainers.data.errors import DataError
from trainers.data.packing import Columns, make_row
from trainers.data.trajectories import Trajectory, Turn
from trainers.methods.base import Method, Role, RowWork
from trainers.methods.eopd import EOPD
from trainers.methods.importance import Sampler
from trainers.methods.li_recipe import LiRecipe
from trainers.methods.reopold import REOPOLD
from trainers.methods.sod import SOD, turn_weights, turns_of

STUDENT, TEACHER, ROLLOUT = logits(0), logits(1), logits(2)
P, Q = STUDENT.softmax(-1)[0], TEACHER.softmax(-1)[0]
REVERSE = at_logits(STUDENT, (P / Q).log())[0]  # the gradient of KL(p ‖ q)
NO_LIMIT = 1e6
NOTHING: Any = None


def trajectory(name: str, turns: tuple[int, ...], outcome: int | None = None) -> Trajectory:
    """One prompt token before each turn; `turns`: how many are sampled."""
    ends = np.cumsum([length + 1 for length in turns])
    of = tuple(Turn(int(end) - n, int(end), 1.0, 1.0) for n, end in zip(turns, ends, strict=True))
    ids = np.arange(ends[-1], dtype=np.int32) % VOCABULARY
    recorded = np.zeros(len(ids), np.float32)
    return Trajectory(name, name.split("/")[1], "student", ids, of, recorded, outcome)


@pytest.mark.parametrize(
    "method",
    [
        EOPD(threshold=99, ratio_limit=NO_LIMIT),
        EOPD(forward_weight=0, ratio_limit=NO_LIMIT),
        REOPOLD(mixture=1e-9, kept=1, ratio_limit=NO_LIMIT),
        LiRecipe(k=0, ratio_limit=NO_LIMIT),
        LiRecipe(k=VOCABULARY),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_without_what_they_add_they_are_the_reverse_kl(method: Method, temperature: float) -> None:
    def known(ids: Tensor) -> Columns:
        return columns(ids, temperature=temperature)

    chances = sampler(STUDENT[0], temperature, 1)
    found = expected_gradient(method, STUDENT, [TEACHER], chances, known)
    torch.testing.assert_close(found, REVERSE)


def test_a_frozen_sampler_is_asked_for() -> None:
    method = EOPD(threshold=99, sampler=Sampler.ROLLOUT, ratio_limit=NO_LIMIT)
    assert method.roles == (Role.TEACHER, Role.ROLLOUT)
    chances = ROLLOUT[0].softmax(-1)
    found = expected_gradient(method, STUDENT, [TEACHER, ROLLOUT], chances, columns)
    torch.testing.assert_close(found, REVERSE)


def test_eopd_adds_a_forward_kl_where_the_teacher_is_unsure() -> None:
    unsure = float(-(Q * Q.log()).sum())
    likeliest = torch.zeros(VOCABULARY, dtype=torch.bool)
    likeliest[Q.topk(4).indices] = True
    slope = torch.where(likeliest, -Q / P, 0)
    for threshold, added in ((unsure - 1e-6, 1), (unsure + 1e-6, 0)):
        method = EOPD(threshold=threshold, k=4, forward_weight=0.6, ratio_limit=NO_LIMIT)
        found = expected_gradient(method, STUDENT, [TEACHER], P, columns)
        expected = REVERSE + added * 0.6 * at_logits(STUDENT, slope)[0]
        torch.testing.assert_close(found, expected)
        assert method.tokens([STUDENT, TEACHER], columns([0]))["unsure"].item() == added


@pytest.mark.parametrize("mixture", [0.2, 0.5])
def test_reopold_explores_above_the_floor(mixture: float) -> None:
    """Student and teacher have changed places: the teacher dislikes some of the student's."""
    floor = math.log(mixture) / (1 - mixture)
    reward = (P / Q).log()
    assert bool((reward < floor).any())
    assert bool((reward > floor).any())
    method = REOPOLD(mixture=mixture)
    found = expected_gradient(method, TEACHER, [STUDENT], Q, columns)
    expected = at_logits(TEACHER, -torch.where(reward >= floor, reward, 0))[0]
    torch.testing.assert_close(found, expected)


def test_reopold_refines_where_the_student_was_least_sure() -> None:
    """Below the floor the reward is the floor then."""
    method = REOPOLD(mixture=0.5, kept=0.25, exploration_steps=3)
    row = make_row([trajectory("r/a/0#0", (1,))])
    unsure = float(-(Q * Q.log()).sum())
    expected = at_logits(TEACHER, -(P / Q).log().clamp(min=2 * math.log(0.5)))[0]
    for seen, kept in ((unsure - 0.1, 1), (unsure + 0.1, 0)):
        entropies = np.array([0.0, seen, 0.1])
        step = {"b": {"student_entropy": entropies}, "a": {"student_entropy": np.array([seen, 0])}}
        method.observe(step)  # the quantile 0.75 of 0, 0, 0.1, seen, seen
        again = REOPOLD(mixture=0.5, kept=0.25, exploration_steps=3)
        again.load_state_dict(method.state_dict())
        for one in (method, again):
            one.begin_row(row, 3, 0)
            found = expected_gradient(one, TEACHER, [STUDENT], Q, columns)
            torch.testing.assert_close(found, kept * expected)


@pytest.mark.parametrize("k", [1, 3])
def test_li_recipe_weighs_the_students_likeliest(k: int) -> None:
    inside = torch.zeros(VOCABULARY, dtype=torch.bool)
    inside[P.topk(k).indices] = True
    weight = torch.where(inside, P, 0) / P[inside].sum()
    found = gradient(LiRecipe(k=k), STUDENT, [TEACHER], columns([0]))[0]
    torch.testing.assert_close(found, at_logits(STUDENT, weight * (P / Q).log() / P)[0])


def sod_gradient(method: SOD, student: Tensor, teacher: Tensor, known: Columns, row: Any) -> Tensor:
    learnt = student.clone().requires_grad_()
    found = method.tokens([learnt, teacher], known)
    work = RowWork(row, found, NOTHING, NOTHING, {}, 0, 0, 9)
    loss = found["loss"] + method.beyond_tokens(work)["loss"]
    (slope,) = torch.autograd.grad(loss.sum(), [learnt])
    return slope


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sod_is_the_reverse_kl_and_the_policy_gradient_in_the_first_turn(
    temperature: float,
) -> None:
    advantage = torch.linspace(-1, 2, VOCABULARY, dtype=torch.float64)
    row = make_row([trajectory("r/a/0#0", (1,))])
    total = torch.zeros(VOCABULARY, dtype=torch.float64)
    for number in range(VOCABULARY):
        known = columns([number], advantage=advantage[[number]], temperature=temperature)
        method = SOD(outcome_weight=0.5, ratio_limit=NO_LIMIT)
        total += (
            sampler(STUDENT[0], temperature, 1)[number]
            * sod_gradient(method, STUDENT, TEACHER, known, row)[0]
        )
    torch.testing.assert_close(total, REVERSE - 0.5 * at_logits(STUDENT, advantage)[0])


def test_sod_trusts_turns_less_in_which_the_student_is_further_away() -> None:
    """Turn after turn as the paper has it, which need not telescope."""
    row = make_row([trajectory("r/a/0#0", (2, 3, 1)), trajectory("r/a/1#0", (1, 2))])
    gap = torch.tensor([1, -3, 0.5, 0.5, -0.5, 4, 0.0, 2, 2], dtype=torch.float64)
    expected = []
    for turns in ([gap[:2], gap[2:5], gap[5:6]], [gap[6:7], gap[7:]]):
        product, means = 1.0, [float(turn.abs().mean()) for turn in turns]
        expected += [1.0] * len(turns[0])
        for before, after, turn in zip(means, means[1:], turns[1:], strict=False):
            product *= (before + 1e-6) / (after + 1e-6)
            expected += [min(product, 1.2)] * len(turn)
    found = turn_weights(gap, turns_of(row), 0.2)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert found[5] == pytest.approx(0.5, rel=1e-5)
    assert found[2] == 1.2


def test_sod_weighs_gradients_so() -> None:
    row = make_row([trajectory("r/a/0#0", (1, 1))])
    student, teacher = logits(3, 2), logits(4, 2)
    known = columns([1, 2])
    found = sod_gradient(SOD(outcome_weight=0), student, teacher, known, row)
    p = student.softmax(-1)
    gap = (student.log_softmax(-1) - teacher.log_softmax(-1))[[0, 1], [1, 2]]
    weight = torch.stack([gap[0] * 0 + 1, (gap[0].abs() / gap[1].abs()).clamp(max=1.2)])
    given = torch.eye(VOCABULARY, dtype=torch.float64)[[1, 2]]
    torch.testing.assert_close(found, (weight * gap)[:, None] * (given - p), rtol=1e-5, atol=1e-7)
    unused = columns([1, 2], advantage=torch.full((2,), torch.nan))
    assert torch.equal(sod_gradient(SOD(outcome_weight=0), student, teacher, unused, row), found)


def test_sod_compares_attempts_and_keeps_those_that_agree() -> None:
    ones = [
        trajectory("r/a/0#0", (1,), 1),
        trajectory("r/a/1#0", (1,), 0),
        trajectory("r/b/0#0", (1,), 1),
    ]
    assert [one.advantage for one in SOD().prepare(ones)] == [1, -1, 0]
    with pytest.raises(DataError, match="r/c/0#0 has no grade"):
        SOD().prepare([trajectory("r/c/0#0", (1,))])
    assert SOD(outcome_weight=0).prepare([trajectory("r/c/0#0", (1,))])
