"""Gradients of the methods whose loss depends on who sampled, or on the teacher's entropy or PI."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers.methods.toys import at_logits, columns, gradient, logits
from trainers.data.errors import DataError
from trainers.data.packing import Columns, make_row
from trainers.data.trajectories import Author, Trajectory, Turn
from trainers.methods.base import Method
from trainers.methods.distillm2 import DistiLLM2
from trainers.methods.f_distill import FDistill
from trainers.methods.pi_distill import PiDistill

STUDENT, TEACHER = logits(0, 2), logits(1, 2)
P, Q = STUDENT.softmax(-1), TEACHER.softmax(-1)
MINE, THEIRS = 0, 1


def trajectory(author: Author) -> Trajectory:
    nothing = np.full(2, np.nan, np.float32)
    turns = (Turn(1, 2, 1.0, 1.0),)
    return Trajectory(f"r/i/{author}#0", "i", author, np.array([1, 2], np.int32), turns, nothing)


def known(method: Method, step: int = 0) -> Columns:
    """A token of the student's, then one of the teacher's."""
    method.begin_row(make_row([trajectory("student"), trajectory("teacher")]), step, 0)
    return columns([2, 3])._replace(trajectory=torch.tensor([MINE, THEIRS]))


def slopes(mine: Tensor, theirs: Tensor) -> Tensor:
    """The gradient at the logits of a loss with these slopes at p."""
    return at_logits(STUDENT, torch.stack([mine[MINE], theirs[THEIRS]]))


@pytest.mark.parametrize("beta", [0.5, 0.8])
def test_the_jensen_shannon_divergence_in_two_halves(beta: float) -> None:
    """Each author's half is taken on its own samples, and drawn as often as it weighs."""
    method = FDistill(divergence="js", student_weight=beta)
    m = beta * P + (1 - beta) * Q
    found = gradient(method, STUDENT, [TEACHER], known(method))
    torch.testing.assert_close(found, slopes((P / m).log() - beta * P / m, -beta * Q / m))
    values = method.tokens([STUDENT, TEACHER], known(method))["loss"]
    torch.testing.assert_close(values[MINE], (P * (P / m).log()).sum(-1)[MINE])
    torch.testing.assert_close(values[THEIRS], (Q * (Q / m).log()).sum(-1)[THEIRS])
    assert method.share == beta


@pytest.mark.parametrize(
    ("divergence", "share", "slope"),
    [
        ("kl", 0.0, -Q / P),
        ("rkl", 1.0, (P / Q).log()),
        ("tvd", 0.5, (P - Q).sign() / 2),
    ],
)
def test_the_other_divergences_are_the_same_on_both(
    divergence: Any, share: float, slope: Tensor
) -> None:
    method = FDistill(divergence=divergence)
    found = gradient(method, STUDENT, [TEACHER], known(method))
    torch.testing.assert_close(found, slopes(slope, slope))
    assert method.share == share


@pytest.mark.parametrize(("step", "weight"), [(0, 1.0), (5, 1.25), (10, 1.5), (99, 1.5)])
def test_distillm_2_attracts_and_repels(step: int, weight: float) -> None:
    """The student's part of its own mixture is constant."""
    method = DistiLLM2(skew=0.2, growth_steps=10)
    own, other = 0.2 * P + 0.8 * Q, 0.2 * Q + 0.8 * P
    found = gradient(method, STUDENT, [TEACHER], known(method, step))
    expected = slopes(weight * (P / own).log(), -(2 - weight) * 0.8 * Q / other)
    torch.testing.assert_close(found, expected)
    values = method.tokens([STUDENT, TEACHER], known(method, step))["loss"]
    torch.testing.assert_close(values[MINE], weight * (P * (P / own).log()).sum(-1)[MINE])
    attract = (2 - weight) * (Q * (Q / other).log()).sum(-1)
    torch.testing.assert_close(values[THEIRS], attract[THEIRS])
    assert method.share == 0.5


def test_distillm_2_does_not_grow_by_itself() -> None:
    method = DistiLLM2()
    assert torch.equal(
        method.tokens([STUDENT, TEACHER], known(method, 0))["loss"],
        method.tokens([STUDENT, TEACHER], known(method, 900))["loss"],
    )


def test_pi_distill_learns_from_pi_where_it_is_far_enough() -> None:
    """... and from outcomes everywhere."""
    divergence = (Q * (Q / P).log()).sum(-1)
    limit = float(divergence.mean())
    assert divergence.min() < limit < divergence.max()
    method = PiDistill(least_kl=limit, kl_weight=0.5, outcome_weight=2)
    active = (divergence > limit).double()[:, None]
    outcome = torch.tensor([1.0, 0.0], dtype=torch.float64)
    graded = columns([2, 3])._replace(outcome=outcome)
    given = torch.eye(P.shape[-1], dtype=torch.float64)[[2, 3]]
    expected = 0.5 * active * (P - Q) + 2 * outcome[:, None] * (P - given)
    torch.testing.assert_close(gradient(method, STUDENT, [TEACHER], graded), expected)
    ungraded = columns([2, 3])._replace(outcome=outcome * torch.nan)
    plain = PiDistill(least_kl=0, kl_weight=1, outcome_weight=0)
    torch.testing.assert_close(gradient(plain, STUDENT, [TEACHER], ungraded), P - Q)


def test_pi_distill_weighs_outcomes_by_how_tokens_were_sampled() -> None:
    method = PiDistill(least_kl=99)
    found = gradient(method, STUDENT, [TEACHER], columns([2, 3], temperature=0.7))
    tempered = (STUDENT / 0.7).softmax(-1)
    ratio = (P / tempered)[[0, 1], [2, 3]].clamp(max=4)
    assert (ratio - 1).abs().min() > 0.01
    given = torch.eye(P.shape[-1], dtype=torch.float64)[[2, 3]]
    torch.testing.assert_close(found, ratio[:, None] * (P - given))


def test_pi_distill_needs_grades() -> None:
    ungraded = trajectory("student")
    with pytest.raises(DataError, match="student#0 has no grade"):
        PiDistill().prepare([ungraded])
    assert PiDistill(outcome_weight=0).prepare([ungraded]) == [ungraded]
    greedy = replace(ungraded, outcome=1, turns=(Turn(1, 2, 0.0, 1.0),))
    with pytest.raises(DataError, match="temperature 0"):
        PiDistill().prepare([greedy])
