"""CHOP on tokens: routing, and what is left when the gates are off."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from trainers.gates.reliability import Reliability
from trainers.losses.chop import ChopTokens
from trainers.losses.divergences import entropy, kl, log_probs, total_variation

TOKENS, VOCABULARY = 12, 9
Logits = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def logits() -> Logits:
    generator = torch.Generator().manual_seed(0)
    student, teacher, shift = torch.randn(3, TOKENS, VOCABULARY, generator=generator)
    shift[::3] = 0
    return student.requires_grad_(), teacher, teacher + shift


SAMPLED = torch.arange(TOKENS) % VOCABULARY
SOLVED = torch.ones(TOKENS)
OFF = ChopTokens(Reliability(0.3, 1.0), None, None, noise_floor=0.0)


def test_with_gates_off_it_is_reverse_kl_bit_for_bit(logits: Logits) -> None:
    plain = kl(log_probs(logits[0]), log_probs(logits[1]))
    found = OFF(*logits, SAMPLED, SOLVED)
    assert torch.equal(found["loss"], plain)
    (expected,) = torch.autograd.grad(plain.sum(), logits[0])
    (gradient,) = torch.autograd.grad(found["loss"].sum(), logits[0])
    assert torch.equal(gradient, expected)


def test_each_state_gets_its_teacher_and_its_term(logits: Logits) -> None:
    rho = OFF(*logits, SAMPLED, SOLVED)["rho"]
    body = replace(OFF, reliability_threshold=rho.median().item(), pi_threshold=0.0)
    outcome = torch.arange(TOKENS) % 2
    found = body(*logits, SAMPLED, outcome)

    p, q, q_pi = (log_probs(each).detach() for each in logits)
    for t in range(TOKENS):
        h, tv = entropy(q[t]), total_variation(p[t], q[t])
        assert found["rho"][t].item() == pytest.approx((-0.3 * h - tv).exp().item())
        active = t % 3 != 0
        trust = found["rho"][t].item() > rho.median().item()
        assert (bool(found["pi_active"][t]), bool(found["trusted"][t])) == (active, trust)
        if trust:
            expected = kl(p[t], q_pi[t] if active else q[t]).item()
        else:
            expected = -0.1 * outcome[t].item() * p[t, SAMPLED[t]].item()
        assert found["loss"][t].item() == pytest.approx(expected, abs=1e-6)
    assert 0 < found["trusted"].sum() < TOKENS


def test_an_unsolved_trajectory_leaves_nothing_on_untrusted_tokens(logits: Logits) -> None:
    none_trusted = replace(OFF, reliability_threshold=1.0)
    found = none_trusted(*logits, SAMPLED, torch.zeros(TOKENS))
    (gradient,) = torch.autograd.grad(found["loss"].sum(), logits[0])
    assert not gradient.any()
    solved = none_trusted(*logits, SAMPLED, SOLVED)
    (gradient,) = torch.autograd.grad(solved["loss"].sum(), logits[0])
    one_hot = torch.nn.functional.one_hot(SAMPLED, VOCABULARY)
    torch.testing.assert_close(gradient, 0.1 * (log_probs(logits[0]).exp() - one_hot))


def test_without_pi_nothing_is_active(logits: Logits) -> None:
    body = replace(OFF, pi_threshold=0.0)
    assert not body(logits[0], logits[1], logits[1], SAMPLED, SOLVED)["pi_active"].any()


def test_no_gradient_flows_through_the_gates(logits: Logits) -> None:
    found = OFF(*logits, SAMPLED, SOLVED)
    assert [name for name, value in found.items() if value.requires_grad] == ["loss"]
