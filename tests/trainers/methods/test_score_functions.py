"""Expected gradients over samples, with temperature and nucleus accounted for."""

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
from trainers.data.packing import Columns
from trainers.methods.grpo import GRPO
from trainers.methods.importance import Sampler, importance_ratio, sampler_log_probs
from trainers.methods.reverse_kl_opd import ReverseKLOPD
from trainers.methods.sampled_token_opd import SampledTokenOPD

STUDENT, TEACHER, ROLLOUT = logits(0), logits(1), logits(2)
P = STUDENT.softmax(-1)[0]
ADVANTAGES = torch.linspace(-1, 2, VOCABULARY, dtype=torch.float64)
NO_LIMIT = 1e6


@pytest.mark.parametrize(("temperature", "top_p"), [(1, 1), (0.7, 1), (0.7, 0.8), (1.5, 0.5)])
def test_log_probabilities_of_the_sampler(temperature: float, top_p: float) -> None:
    expected = sampler(STUDENT[0], temperature, top_p)
    for number in range(VOCABULARY):
        known = columns([number], temperature=temperature, top_p=top_p)
        found = sampler_log_probs(STUDENT.log_softmax(-1), known)
        if expected[number] > 0:
            torch.testing.assert_close(found[0].exp(), expected[number])


def test_a_sampled_token_outside_the_nucleus_is_taken_in() -> None:
    log_p = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64).log()
    found = sampler_log_probs(log_p, columns([2], top_p=0.5)).exp()
    torch.testing.assert_close(found, torch.tensor([0.1 / 0.7], dtype=torch.float64))


def test_rows_may_mix_nuclei() -> None:
    known = columns([0, 0])._replace(top_p=torch.tensor([1.0, 0.5], dtype=torch.float64))
    log_p = torch.tensor([[0.6, 0.3, 0.1]] * 2, dtype=torch.float64).log()
    found = sampler_log_probs(log_p, known).exp()
    torch.testing.assert_close(found, torch.tensor([0.6, 1.0], dtype=torch.float64))


def test_a_ratio_is_one_where_sampler_and_model_agree_and_bounded_elsewhere() -> None:
    log_p = STUDENT.log_softmax(-1)
    log_mu = sampler_log_probs(log_p, columns([3]))
    assert importance_ratio(log_p[:, 3], log_mu, 4.0).tolist() == [1.0]
    assert importance_ratio(torch.zeros(1), torch.full((1,), -9.0), 4.0).tolist() == [4.0]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("author", [Sampler.STUDENT, Sampler.ROLLOUT])
def test_sampled_token_opd_has_the_gradient_of_the_kl(temperature: float, author: Sampler) -> None:
    method = SampledTokenOPD(sampler=author, ratio_limit=NO_LIMIT)
    others = [TEACHER] if author is Sampler.STUDENT else [TEACHER, ROLLOUT]
    chances = sampler((STUDENT if author is Sampler.STUDENT else ROLLOUT)[0], temperature, 1)

    def known(ids: Tensor) -> Columns:
        return columns(ids, temperature=temperature)

    found = expected_gradient(method, STUDENT, others, chances, known)
    exact = gradient(ReverseKLOPD(), STUDENT, [TEACHER], columns([0]))[0]
    torch.testing.assert_close(found, exact)


def test_sampled_token_opd_without_ratios_is_off_at_another_temperature() -> None:
    method = SampledTokenOPD(sampler=Sampler.NOBODY)
    exact = gradient(ReverseKLOPD(), STUDENT, [TEACHER], columns([0]))[0]
    right = expected_gradient(method, STUDENT, [TEACHER], P, columns)
    torch.testing.assert_close(right, exact)
    wrong = expected_gradient(method, STUDENT, [TEACHER], sampler(STUDENT[0], 0.7, 1), columns)
    assert (wrong - exact).abs().max() > 0.01


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("author", [Sampler.STUDENT, Sampler.ROLLOUT])
def test_grpo_has_the_policy_gradient(temperature: float, author: Sampler) -> None:
    """At the first step: the student is still what it was when it sampled."""
    method = GRPO(sampler=author, ratio_limit=NO_LIMIT)
    others = [] if author is Sampler.STUDENT else [STUDENT]

    def known(ids: Tensor) -> Columns:
        return columns(
            ids, advantage=ADVANTAGES[ids], recorded=P.log()[ids], temperature=temperature
        )

    chances = sampler(STUDENT[0], temperature, 1)
    found = expected_gradient(method, STUDENT, others, chances, known)
    torch.testing.assert_close(found, at_logits(STUDENT, -ADVANTAGES)[0])
    if temperature == 1:
        result = method.tokens([STUDENT, *others], known(torch.tensor([2])))
        assert result["ratio"].item() == pytest.approx(1)
        assert result["sampler_ratio"].item() == pytest.approx(1)


def test_grpo_after_some_steps_weighs_by_how_the_student_has_moved() -> None:
    moved = STUDENT + 0.05 * TEACHER
    known = columns([1], recorded=P.log()[[1]])
    result = GRPO().tokens([moved], known)
    ratio = moved.softmax(-1)[0, 1] / P[1]
    torch.testing.assert_close(result["ratio"][0], ratio)
    torch.testing.assert_close(result["loss"][0], -ratio)
    torch.testing.assert_close(result["recorded_gap"][0], ratio.log().abs())
    by_rollout = GRPO(sampler=Sampler.ROLLOUT).tokens([moved, STUDENT], columns([1]))
    torch.testing.assert_close(by_rollout["ratio"][0], ratio)


@pytest.mark.parametrize(
    ("moved", "advantage", "stops"),
    [(0.5, 1, True), (0.5, -1, False), (-0.5, -1, True), (-0.5, 1, False)],
)
def test_grpo_does_not_go_further_than_its_clip(moved: float, advantage: int, stops: bool) -> None:
    """`recorded` makes the ratio exp(±0.5), beyond 1 ± 0.2."""
    known = columns(
        [1],
        recorded=P.log()[[1]] - moved,
        advantage=torch.tensor([advantage], dtype=torch.float64),
    )
    found = gradient(GRPO(), STUDENT, [], known)
    assert bool((found == 0).all()) is stops
    assert GRPO().tokens([STUDENT], known)["clipped"].item() == stops
