"""The estimators' mean, by enumerating every outcome of a small case."""

import itertools

import pytest
import torch
from torch import Tensor

from trainers.segments.anchors import draw_anchors
from trainers.segments.score_gradient import Estimator, marginal_weights, segment_weights
from trainers.segments.wasserstein import sliced_wasserstein_squared, unit_projections

# Segments of two binary tokens: four kinds, each with an embedding.
KINDS = torch.tensor([[0.0, 0.0], [1.0, 0.3], [0.2, 2.0], [3.0, 1.0]], dtype=torch.float64)
TEACHER = KINDS[[0, 3, 3]]
PROJECTIONS = unit_projections(16, 2, torch.Generator().manual_seed(0)).double()
STUDENTS = 3


def segment_log_probs(logits: Tensor) -> Tensor:
    """Of the four kinds: a first token, then a second that depends on it."""
    first = torch.nn.functional.logsigmoid(torch.stack([logits[0], -logits[0]]))
    second = torch.nn.functional.logsigmoid(torch.stack([logits[1:], -logits[1:]], dim=1))
    return (first.unsqueeze(-1) + second).flatten()


def mean_gradients(estimator: Estimator) -> tuple[Tensor, Tensor]:
    """The exact gradient of the expected distance, and the estimator's mean."""
    logits = torch.tensor([0.4, -0.7, 1.1], dtype=torch.float64, requires_grad=True)
    expected = torch.zeros((), dtype=torch.float64)
    estimate = torch.zeros(3, dtype=torch.float64)
    for drawn in itertools.product(range(4), repeat=STUDENTS):
        points = KINDS[list(drawn)]
        log_p = segment_log_probs(logits)[list(drawn)]
        probability = log_p.sum().exp()
        expected = expected + probability * sliced_wasserstein_squared(TEACHER, points, PROJECTIONS)
        weights = segment_weights(TEACHER, points, PROJECTIONS, estimator)
        assert not weights.requires_grad
        score = (weights * log_p).sum()
        (gradient,) = torch.autograd.grad(score, logits, retain_graph=True)
        estimate += probability.detach() * gradient
    (exact,) = torch.autograd.grad(expected, logits)
    return exact, estimate


def test_the_marginal_form_is_unbiased() -> None:
    exact, estimate = mean_gradients(Estimator.MARGINAL)
    torch.testing.assert_close(estimate, exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("estimator", [each for each in Estimator if each != Estimator.MARGINAL])
def test_forms_of_the_assignment_cost_are_biased(estimator: Estimator) -> None:
    exact, estimate = mean_gradients(estimator)
    assert (estimate - exact).norm() > 0.05 * exact.norm()


def test_the_cost_forms_are_their_definitions() -> None:
    points = KINDS[[0, 1, 2]]

    def weights(estimator: Estimator) -> Tensor:
        return segment_weights(TEACHER, points, PROJECTIONS, estimator)

    plain = weights(Estimator.VANILLA)
    whole = sliced_wasserstein_squared(TEACHER, points, PROJECTIONS)
    torch.testing.assert_close(plain.sum(), whole)
    torch.testing.assert_close(weights(Estimator.MEAN_BASELINE), plain - plain.mean())
    others = torch.stack([plain[[1, 2]].mean(), plain[[0, 2]].mean(), plain[[0, 1]].mean()])
    torch.testing.assert_close(weights(Estimator.PAPER_LOO), plain - others)
    normalised = weights(Estimator.LOO_NORMALISED) * 3
    assert normalised.std(correction=0).item() == pytest.approx(1)


def test_leaving_one_out_needs_two() -> None:
    with pytest.raises(ValueError, match="two student segments"):
        marginal_weights(lambda points: points.sum(), KINDS[:1])


def test_the_weighted_sum_over_anchors_is_the_sum_over_states_on_average() -> None:
    untrusted = torch.tensor([True, False, True, True, False, True, True])
    values = torch.arange(7, dtype=torch.float64).square()
    found = []
    for seed in range(4000):
        anchors = draw_anchors(untrusted, 2, torch.Generator().manual_seed(seed))
        assert untrusted[anchors.positions].all()
        assert len(set(anchors.positions.tolist())) == 2
        found.append((values[anchors.positions] * anchors.weights).sum().item())
    total = values[untrusted].sum().item()
    assert sum(found) / len(found) == pytest.approx(total, rel=0.03)
    # Every pair, each as likely as another, gives the sum exactly.
    states = untrusted.nonzero().flatten().tolist()
    pairs = [values[list(pair)].sum().item() * 5 / 2 for pair in itertools.combinations(states, 2)]
    assert sum(pairs) / len(pairs) == pytest.approx(total)
    assert set(found) == set(pairs)


def test_within_the_budget_every_untrusted_state_is_an_anchor() -> None:
    untrusted = torch.tensor([True, False, True])
    anchors = draw_anchors(untrusted, 5, torch.Generator())
    assert anchors.positions.tolist() == [0, 2]
    assert anchors.weights.tolist() == [1.0, 1.0]
    assert len(draw_anchors(torch.zeros(4, dtype=torch.bool), 5, torch.Generator()).positions) == 0
