"""Gradients of the methods that imitate a distribution, or given tokens."""

import pytest
import torch

from tests.trainers.methods.toys import (
    VOCABULARY,
    at_logits,
    columns,
    expected_gradient,
    gradient,
    logits,
)
from trainers.methods.distillm import DistiLLM
from trainers.methods.gkd import GKD
from trainers.methods.reverse_kl_opd import ReverseKLOPD
from trainers.methods.sequence_kd import SequenceKD
from trainers.methods.sft import SFT
from trainers.methods.todi import ToDi
from trainers.methods.top_k_lsm import TopKLSM

STUDENT, TEACHER = logits(0, 3), logits(1, 3)
P, Q = STUDENT.softmax(-1), TEACHER.softmax(-1)
ANY = columns([0, 1, 2])


def test_sft_raises_the_given_token() -> None:
    ids = torch.tensor([4, 0, 2])
    found = gradient(SFT(), STUDENT, [], columns(ids))
    torch.testing.assert_close(found, P - torch.eye(VOCABULARY, dtype=torch.float64)[ids])
    losses = SFT().tokens([STUDENT], columns(ids))["loss"]
    torch.testing.assert_close(losses, -P.log()[torch.arange(3), ids])


def test_sequence_kd_is_the_forward_kl_on_average() -> None:
    found = expected_gradient(SequenceKD(), STUDENT[:1], [], Q[0], columns)
    torch.testing.assert_close(found, (P - Q)[0])


def test_reverse_kl() -> None:
    found = gradient(ReverseKLOPD(), STUDENT, [TEACHER], ANY)
    torch.testing.assert_close(found, at_logits(STUDENT, P.log() - Q.log()))
    result = ReverseKLOPD().tokens([STUDENT, TEACHER], ANY)
    torch.testing.assert_close(result["loss"], (P * (P / Q).log()).sum(-1))
    torch.testing.assert_close(result["teacher_entropy"], -(Q * Q.log()).sum(-1))
    torch.testing.assert_close(result["student_entropy"], -(P * P.log()).sum(-1))
    torch.testing.assert_close(result["tv"], (P - Q).abs().sum(-1) / 2)


def test_reverse_and_forward_kl_may_be_mixed() -> None:
    found = gradient(ReverseKLOPD(forward_share=0.3), STUDENT, [TEACHER], ANY)
    reverse = gradient(ReverseKLOPD(), STUDENT, [TEACHER], ANY)
    torch.testing.assert_close(found, 0.7 * reverse + 0.3 * (P - Q))


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.8])
def test_gkd_between_its_ends(beta: float) -> None:
    mixture = beta * Q + (1 - beta) * P
    method = GKD(interpolation=beta)
    found = gradient(method, STUDENT, [TEACHER], ANY)
    torch.testing.assert_close(found, at_logits(STUDENT, (1 - beta) * (P / mixture).log()))
    expected = beta * (Q * (Q / mixture).log()).sum(-1)
    expected += (1 - beta) * (P * (P / mixture).log()).sum(-1)
    torch.testing.assert_close(method.tokens([STUDENT, TEACHER], ANY)["loss"], expected)


def test_gkd_at_its_ends() -> None:
    forward = gradient(GKD(interpolation=0), STUDENT, [TEACHER], ANY)
    torch.testing.assert_close(forward, P - Q)
    reverse = gradient(GKD(interpolation=1), STUDENT, [TEACHER], ANY)
    torch.testing.assert_close(reverse, gradient(ReverseKLOPD(), STUDENT, [TEACHER], ANY))
    assert GKD(student_share=0.3).share == 0.3


@pytest.mark.parametrize("skew", [0.0, 0.1, 0.7])
def test_skewed_kl(skew: float) -> None:
    """Gradients of the closed forms at p; without skew, the plain divergences."""
    forward, reverse = (
        DistiLLM.model_validate({"skew": skew, "direction": each})
        for each in ("forward", "reverse")
    )
    mixed = skew * Q + (1 - skew) * P
    slope = -(1 - skew) * Q / mixed
    torch.testing.assert_close(
        gradient(forward, STUDENT, [TEACHER], ANY), at_logits(STUDENT, slope)
    )
    expected = (Q * (Q / mixed).log()).sum(-1)
    torch.testing.assert_close(forward.tokens([STUDENT, TEACHER], ANY)["loss"], expected)
    mixed = skew * P + (1 - skew) * Q
    slope = (P / mixed).log() - skew * P / mixed
    torch.testing.assert_close(
        gradient(reverse, STUDENT, [TEACHER], ANY), at_logits(STUDENT, slope)
    )
    expected = (P * (P / mixed).log()).sum(-1)
    torch.testing.assert_close(reverse.tokens([STUDENT, TEACHER], ANY)["loss"], expected)


def test_todi_weighs_each_id_by_how_far_the_two_are_apart() -> None:
    """Its weights are q/(p+q), and constant: the gradient is that of both parts apart."""
    weight = Q / (P + Q)
    slope = -weight * Q / P + (1 - weight) * ((P / Q).log() + 1)
    torch.testing.assert_close(gradient(ToDi(), STUDENT, [TEACHER], ANY), at_logits(STUDENT, slope))
    expected = weight * Q * (Q / P).log() + (1 - weight) * P * (P / Q).log()
    result = ToDi().tokens([STUDENT, TEACHER], ANY)["loss"]
    torch.testing.assert_close(result, expected.sum(-1))


@pytest.mark.parametrize("support", ["student", "teacher"])
def test_top_k_is_the_kl_between_what_is_left(support: str) -> None:
    method = TopKLSM.model_validate({"k": 3, "support": support})
    found = gradient(method, STUDENT, [TEACHER], ANY)
    chosen = (P if support == "student" else Q).topk(3).indices
    inside = torch.zeros_like(P, dtype=torch.bool).scatter(-1, chosen, value=True)
    p = torch.where(inside, P, 0) / torch.where(inside, P, 0).sum(-1, keepdim=True)
    q = torch.where(inside, Q, 0) / torch.where(inside, Q, 0).sum(-1, keepdim=True)
    ratio = torch.where(inside, (p / q).log(), 0)
    torch.testing.assert_close(found, p * (ratio - (p * ratio).sum(-1, keepdim=True)))


def test_top_k_of_everything_is_the_whole_kl() -> None:
    found = gradient(TopKLSM(k=VOCABULARY), STUDENT, [TEACHER], ANY)
    torch.testing.assert_close(found, gradient(ReverseKLOPD(), STUDENT, [TEACHER], ANY))
    shared = TopKLSM(k=2).tokens([STUDENT, STUDENT], ANY)["overlap"]
    assert shared.tolist() == [1.0] * 3
