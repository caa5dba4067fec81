"""Theorems 4.3 and 4.4: what holds the un-audited tokens, and what the loss does not see.

Source: OmniOPD §4.3, §4.4. Everything but bounds is the project's own code.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tests.trainers.omniopd.audited import STUDENT, UNAUDITED, begun, loss
from tests.trainers.tiny import byte_tokenizer
from trainers.losses.divergences import kl, total_variation
from trainers.methods.likelihood import negative_log_likelihood
from trainers.methods.omniopd import OmniOPD
from trainers.omniopd.posterior import posterior
from trainers.omniopd.similarity import SIMILARITIES, SimilarityName, trim
from trainers.serving.shipped import shipped_folders

CHUNK = "x = a + b  # sum"
SAID = ("x = a + b  # sum", "x = b + a", "return a + b", "y = 0  # nothing", "pass")


def test_pinsker() -> None:
    generator = torch.Generator().manual_seed(1)
    sharpness = torch.logspace(-2, 1, 500, dtype=torch.float64)[:, None]
    one, other = torch.randn(2, 500, 8, generator=generator, dtype=torch.float64) * sharpness
    log_p, log_q = one.log_softmax(-1), other.log_softmax(-1)
    bound = (kl(log_p, log_q) / 2).sqrt()
    assert bool((total_variation(log_p, log_q) <= bound).all())  # Eq. 16
    near = torch.tensor([[0.5, 0.5], [0.501, 0.499]], dtype=torch.float64).log()
    tight = total_variation(*near) / (kl(*near) / 2).sqrt()
    assert float(tight) == pytest.approx(1, abs=1e-4)


def test_the_drift_of_what_is_not_audited_has_a_budget(tmp_path: Path) -> None:
    """Tokens share what is trained: logits are `X·W`, W having fewer rows than there are tokens."""
    features = torch.randn(12, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    start = torch.randn(5, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    reference = features @ start
    drifts, shares = [], []
    for anchor in (0.05, 0.5, 5.0, 50.0, 500.0, 5000.0):
        method = begun(tmp_path, [0.8, 0.3], anchor=anchor)
        free = begun(tmp_path, [0.8, 0.3], anchor=0)
        weights = minimised(partial(of_weights, method, features, reference), start)
        gained = loss(free, reference, reference) - loss(free, features @ weights, reference)
        log_ref, log_p = reference.log_softmax(-1), (features @ weights).log_softmax(-1)
        drift = float(kl(log_ref, log_p)[UNAUDITED].sum())
        assert 0 < drift <= float(gained) / anchor  # Eq. 17
        drifts.append(drift)
        shares.append(drift * anchor / float(gained))
    assert drifts == sorted(drifts, reverse=True)
    assert drifts[-1] < 1e-3
    assert shares[-1] == pytest.approx(0.5, abs=0.02)  # of a quadratic: half of the budget


def of_weights(method: OmniOPD, features: Tensor, reference: Tensor, weights: Tensor) -> Tensor:
    return loss(method, features @ weights, reference)


def minimised(objective: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    learnt = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [learnt],
        max_iter=500,
        tolerance_grad=1e-9,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def again() -> Tensor:
        optimiser.zero_grad()
        value = objective(learnt)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(again)  # type: ignore[no-untyped-call]
    assert learnt.grad is not None
    assert float(learnt.grad.norm()) < 1e-4  # so it is the minimum of a convex function
    return learnt.detach()


REWORDED: dict[SimilarityName, tuple[str, ...]] = {
    "edit": ("x = q + r", "yields a + b"),  # as far from the chunk
    "rouge_1": ("a = b + x", " b\n+ a return"),
    "rouge_l": ("x  =\nb + a", "return\ta+b"),
    "jaccard": ("a a = b + x x", "b + a return"),
    "bleu_1": ("a = b + x", "b + a return"),
    "bleu_2": ("x=b+a", "return  a + b"),
    "exact": ("anything", "else"),
}


@pytest.mark.parametrize("name", REWORDED)
def test_what_is_alike_gives_the_same_loss(name: SimilarityName, tmp_path: Path) -> None:
    said, reworded = ("x = b + a", "return a + b"), REWORDED[name]
    assert estimate(name, said) == estimate(name, reworded)
    losses = [
        float(loss(begun(tmp_path, [estimate(name, each)] * 2), STUDENT))
        for each in (said, reworded, (CHUNK, "return a + b"))
    ]
    assert losses[0] == losses[1] != losses[2]  # Eq. 18
    imitated = [imitation_loss(each[0]) for each in (said, reworded)]
    assert imitated[0] != pytest.approx(imitated[1])  # Eq. 19


@pytest.mark.parametrize("name", REWORDED)
def test_the_teachers_tokeniser_does_not_matter(name: SimilarityName) -> None:
    _, folder = shipped_folders()["repair-student"]
    words, bytes_ = Tokenizer.from_file(str(folder / "tokenizer.json")), byte_tokenizer()
    ids = [words.encode(each).ids for each in SAID], [bytes_.encode(each) for each in SAID]
    assert ids[0] != ids[1]
    read = [words.decode(each) for each in ids[0]], [bytes_.decode(each) for each in ids[1]]
    assert estimate(name, read[0]) == estimate(name, read[1]) == estimate(name, SAID)


def estimate(name: SimilarityName, said: Sequence[str]) -> float:
    compared = [trim(each, len(CHUNK)) for each in said]
    evidence = sum(SIMILARITIES[name].all(CHUNK, compared))
    return float(posterior(evidence, len(said), 0.5, 1.0))


def imitation_loss(text: str) -> float:
    """Cross-entropy of the bytes of a text, under a student whose states differ."""
    ids = torch.tensor(list(text.encode()))
    logits = torch.randn(len(ids), 128, generator=torch.Generator().manual_seed(4))
    return float(negative_log_likelihood(logits, ids)["loss"].sum())
