"""Known log-probabilities as a source of logits: what is unknown is spread evenly, and reported."""

import pytest
import torch
from torch import Tensor

from trainers.losses.chunked import Projection, over_tokens
from trainers.losses.divergences import kl, log_probs
from trainers.losses.sources import Composed, KnownLogProbs, known_log_probs
from trainers.teachers.compose import compose_logits

TOKENS, VOCABULARY = 7, 12


def logits(seed: int) -> Tensor:
    return torch.randn(TOKENS, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 2


def known(values: Tensor, k: int, *, extra: int | None = None) -> KnownLogProbs:
    """The k likeliest ids of each token, and one more."""
    whole = log_probs(values)
    ids = whole.topk(k).indices.int()
    if extra is not None:
        ids = torch.cat([ids, torch.full((TOKENS, 1), extra, dtype=torch.int32)], 1)
        ids[(ids[:, :k] == extra).any(1), k] = -1
    return known_log_probs(ids, whole.gather(1, ids.clamp(min=0).long()), VOCABULARY)


def dense(source: KnownLogProbs | Composed) -> Tensor:
    """Logits of all tokens, chunk by chunk."""
    pieces = over_tokens(lambda part: {"logits": part}, [source], chunk=3)
    return pieces["logits"]


def test_all_ids_give_the_distribution() -> None:
    found = known(logits(0), VOCABULARY)
    torch.testing.assert_close(dense(found), log_probs(logits(0)))
    assert found.facts["tail"].tolist() == [0.0] * TOKENS


def test_the_rest_is_spread_evenly() -> None:
    found = known(logits(0), 4)
    expected = log_probs(logits(0))
    made = dense(found)
    top = expected.topk(4).indices
    torch.testing.assert_close(made.gather(1, top), expected.gather(1, top))
    torch.testing.assert_close(made.exp().sum(-1), torch.ones(TOKENS))
    torch.testing.assert_close(found.tail, 1 - expected.exp().topk(4).values.sum(-1))
    for row, ids in zip(made, top, strict=True):
        others = torch.ones(VOCABULARY, dtype=torch.bool)
        others[ids] = False
        assert row[others].unique().numel() == 1


def test_tokens_may_have_one_id_more_than_others() -> None:
    found = known(logits(0), 4, extra=5)
    assert found.ids.shape == (TOKENS, 5)
    torch.testing.assert_close(dense(found)[:, 5], log_probs(logits(0))[:, 5])
    torch.testing.assert_close(dense(found).exp().sum(-1), torch.ones(TOKENS))


def test_a_sure_token_stays_finite() -> None:
    found = known_log_probs(torch.tensor([[3, 1]]), torch.tensor([[0.0, -9999.0]]), VOCABULARY)
    assert torch.isfinite(dense(found)).all()
    assert 0 < float(found.tail) < 1e-6


def test_ids_beyond_the_vocabulary_take_their_mass_along() -> None:
    whole = log_probs(logits(0))
    cut = known_log_probs(torch.arange(VOCABULARY).repeat(TOKENS, 1), whole, 9)
    torch.testing.assert_close(
        dense(cut).log_softmax(-1), logits(0)[:, :9].log_softmax(-1), rtol=1e-5, atol=1e-5
    )


def test_the_tail_is_not_what_is_known_beyond_the_vocabulary() -> None:
    log_probs = torch.tensor([[0.5, 0.3]]).log()
    found = known_log_probs(torch.tensor([[0, 11]]), log_probs, 9)
    torch.testing.assert_close(found.tail, torch.tensor([0.2]))
    torch.testing.assert_close(dense(found).exp().sum(-1), torch.tensor([0.7]))


def test_known_log_probs_stand_beside_a_projection() -> None:
    hidden = torch.randn(TOKENS, 5, dtype=torch.float64).requires_grad_()
    head = torch.randn(VOCABULARY, 5, dtype=torch.float64)

    def body(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        return {"loss": kl(log_probs(student), log_probs(teacher))}

    student, teacher = Projection(hidden, head), known(logits(1), VOCABULARY)
    found = over_tokens(body, [student, teacher], chunk=2, gradient_of="loss")["loss"]
    expected = kl(log_probs(hidden @ head.T), log_probs(logits(1).double()))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    one, other = (torch.autograd.grad(each.sum(), hidden)[0] for each in (found, expected))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"\[9, 12\] ids"):
        over_tokens(body, [student, teacher._replace(vocabulary=9)], chunk=2)


def test_composed_log_probs_are_composed_logits() -> None:
    values = [logits(seed) for seed in range(3)]
    parts = [known(each, VOCABULARY) for each in values]
    found = dense(Composed(parts[0], parts[1:])).log_softmax(-1)
    expected = compose_logits(values[0], values[1:]).log_softmax(-1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    tails = [known(each, 4).tail for each in values]
    composed = Composed(known(values[0], 4), [known(each, 4) for each in values[1:]])
    torch.testing.assert_close(composed.facts["tail"], torch.stack(tails).amax(0))
    torch.testing.assert_close(dense(Composed(parts[0], [])), log_probs(values[0]))


def test_what_is_no_distribution_is_refused() -> None:
    log_probs = torch.tensor([[-0.1, -0.2], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"token 1: 2 of 12 ids .* probability of 2"):
        known_log_probs(torch.tensor([[0, -1], [1, 2]]), log_probs, VOCABULARY)
    with pytest.raises(ValueError, match=r"token 0: 0 of 12 ids"):
        known_log_probs(torch.tensor([[12, -1], [1, -1]]), log_probs, VOCABULARY)
