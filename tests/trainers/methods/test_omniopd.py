"""The loss of OmniOPD: gradients at the logits, and what its reductions mean."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainers.methods.toys import VOCABULARY, logits
from tests.trainers.omniopd.material import beginning, trajectory
from trainers.data.packing import make_row
from trainers.data.trajectories import Trajectory
from trainers.methods.omniopd import OmniOPD
from trainers.omniopd.audit import Audit, write_audits

ONE = trajectory([[1, 2, 3], [4, 5, 1, 2]], "r/i/0#0")  # 7 sampled tokens, 3 of them audited
OTHER = trajectory([[3, 3]], "r/i/1#0")
AUDITED = torch.tensor([0, 1, 0, 0, 1, 1, 0], dtype=torch.bool)
TARGETS = torch.tensor([0, 0.25, 0, 0, 0.75, 0.75, 0], dtype=torch.float64)


def audit(one: Trajectory, start: int, end: int, target: float) -> Audit:
    return Audit(one.name, start, end, 1.0, 0.5, target, 1, target, "x", ("x",))


def begun(folder: Path, *trajectories: Trajectory, **settings: Any) -> OmniOPD:
    """The method with its audits made."""
    method = OmniOPD(**settings)
    write_audits(folder / "audits.parquet", [audit(ONE, 1, 2, 0.25), audit(ONE, 4, 6, 0.75)], {})
    method.begin(folder, 0, beginning(trajectories))
    method.begin_row(make_row(trajectories), 0, 0)
    return method


def loss(method: OmniOPD, student: Tensor, reference: Tensor, *of: Trajectory) -> Tensor:
    total = method.tokens([student, reference], make_row(of).columns)["loss"].sum()
    return total / method.divisor(of)


def expected(student: Tensor, reference: Tensor, anchor: float) -> Tensor:
    """`Σ -π̂ log p + β Σ KL(ref ‖ p)` of `ONE`, written out."""
    sampled = torch.tensor([1, 2, 3, 4, 5, 1, 2])
    log_p, q = student.log_softmax(-1), reference.softmax(-1)
    chosen = log_p[torch.arange(7), sampled]
    drift = (q * (q.log() - log_p)).sum(-1)
    return torch.stack([-(TARGETS * chosen).sum(), anchor * drift[~AUDITED].sum()])


def test_the_sum_and_its_gradient(tmp_path: Path) -> None:
    student, reference = logits(0, 7).requires_grad_(), logits(1, 7)
    method = begun(tmp_path, ONE, anchor=0.3)
    found = loss(method, student, reference, ONE)
    torch.testing.assert_close(found, expected(student, reference, 0.3).sum())
    (slope,) = torch.autograd.grad(found, [student])
    p, q = student.detach().softmax(-1), reference.softmax(-1)
    torch.testing.assert_close(slope[~AUDITED], (0.3 * (p - q))[~AUDITED])
    given = torch.eye(VOCABULARY, dtype=torch.float64)[torch.tensor([1, 2, 3, 4, 5, 1, 2])]
    torch.testing.assert_close(slope[AUDITED], (TARGETS[:, None] * (p - given))[AUDITED])


def test_means_over_the_tokens_of_each_kind(tmp_path: Path) -> None:
    student, reference = logits(0, 7), logits(1, 7)
    method = begun(tmp_path, ONE, anchor=0.3, reduction="token_mean")
    chunks, anchors = expected(student, reference, 0.3)
    found = loss(method, student, reference, ONE)
    torch.testing.assert_close(found, chunks / 3 + anchors / 4)


@pytest.mark.parametrize("reduction", ["sum", "token_mean"])
def test_twice_the_same_trajectory_is_the_same_loss(tmp_path: Path, reduction: str) -> None:
    student, reference = logits(0, 7), logits(1, 7)
    once = loss(begun(tmp_path, ONE, reduction=reduction), student, reference, ONE)
    double = begun(tmp_path, ONE, ONE, reduction=reduction)
    found = loss(double, student.repeat(2, 1), reference.repeat(2, 1), ONE, ONE)
    torch.testing.assert_close(found, once)


def test_a_trajectory_without_audits_is_all_anchor(tmp_path: Path) -> None:
    student, reference = logits(0, 2), logits(1, 2)
    method = begun(tmp_path, OTHER, anchor=0.3)
    q = reference.softmax(-1)
    drift = (q * (q.log() - student.log_softmax(-1))).sum()
    torch.testing.assert_close(loss(method, student, reference, OTHER), 0.3 * drift)
    free = begun(tmp_path, OTHER, anchor=0)
    assert loss(free, student, reference, OTHER) == 0


def test_a_baseline_makes_chunks_below_it_less_likely(tmp_path: Path) -> None:
    student, reference = logits(0, 7), logits(1, 7)
    method = begun(tmp_path, ONE, anchor=0, baseline="mean")
    log_p = student.log_softmax(-1)
    wanted = 0.25 * log_p[1, 2] - 0.25 * (log_p[4, 5] + log_p[5, 1])
    torch.testing.assert_close(loss(method, student, reference, ONE), wanted)


def test_what_is_measured_at_each_token(tmp_path: Path) -> None:
    student, reference = logits(0, 7), logits(1, 7)
    found = begun(tmp_path, ONE, anchor=0.3).tokens([student, reference], make_row([ONE]).columns)
    p, q = student.softmax(-1), reference.softmax(-1)
    assert found["audited"].bool().equal(AUDITED)
    torch.testing.assert_close(found["entropy"], -(p * p.log()).sum(-1))
    torch.testing.assert_close(found["kl_to_reference"], (q * (q / p).log()).sum(-1))
    torch.testing.assert_close(found["chunk_loss"] + found["anchor_loss"], found["loss"])
