"""The segment branch: whose segments, what its gradient is, and that anchors stand for all."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainers.segments.material import student, two
from trainers.engine.errors import MismatchError
from trainers.engine.networks import Network
from trainers.methods.base import Role, RowWork
from trainers.methods.chop_settings import SegmentSettings
from trainers.segments import branch as module
from trainers.segments.branch import SegmentBranch
from trainers.segments.continuation import sample
from trainers.segments.prefixes import keeping_prefix
from trainers.segments.sampling import Place, Segments
from trainers.segments.score_gradient import segment_weights
from trainers.segments.wasserstein import unit_projections

K, L = 3, 4
ADAPTER = {"rank": 2, "alpha": 4, "dropout": 0.3}


class Constant:
    """A source that always says the same, and remembers what it was asked."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.asked: list[int] = []

    def continuations(
        self, places: Sequence[Place], count: int, length: int, seed: int
    ) -> list[Segments]:
        self.asked += [place.state for place in places]
        ids = self.first + torch.arange(count * length).view(count, length)
        return [Segments(ids, torch.full((count,), length)) for _ in places]


def branch(**changes: Any) -> SegmentBranch:
    values = {"anchors": 99, "count": K, "length": L, "projections": 4} | changes
    return SegmentBranch(SegmentSettings.model_validate(values))


def work(network: Network, trusted: Tensor, active: Tensor | None = None, step: int = 0) -> RowWork:
    row = two()
    with keeping_prefix(network) as prefix:
        network.hidden(row.ids, row.positions)
    active = torch.zeros_like(trusted) if active is None else active
    teachers: Any = {Role.TEACHER: Constant(10), Role.PI_TEACHER: Constant(90)}
    found = {"trusted": trusted, "pi_active": active, "rho": torch.zeros(len(trusted))}
    return RowWork(row, found, network, prefix, teachers, step, 0, 7)


def untrusted(*numbers: int) -> Tensor:
    """Of the 17 + 12 sampled tokens of the row."""
    trusted = torch.ones(29, dtype=torch.bool)
    trusted[list(numbers)] = False
    return trusted


def copy(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.clone()


def test_each_anchor_has_the_teacher_that_its_gate_chose(tmp_path: Path) -> None:
    active = torch.zeros(29, dtype=torch.bool)
    active[[2, 5, 20]] = True
    job = work(student(tmp_path), untrusted(2, 3, 20), active)
    found = branch()(job)
    asked = {role: source.asked for role, source in job.teachers.items()}  # type: ignore[attr-defined]
    assert asked == {Role.TEACHER: [5], Role.PI_TEACHER: [4, 3]}
    assert found["anchor_weight"].nonzero().squeeze(-1).tolist() == [2, 3, 20]
    assert found["segment_distance"].nonzero().squeeze(-1).tolist() == [2, 3, 20]
    plain = branch()(work(student(tmp_path), untrusted(2, 3, 20)))
    changed = found["segment_distance"] != plain["segment_distance"]
    assert changed.nonzero().squeeze(-1).tolist() == [2, 20]


def test_nothing_untrusted_costs_nothing(tmp_path: Path) -> None:
    found = branch()(work(student(tmp_path), untrusted()))
    assert found.keys() == {"loss", "segment_distance", "anchor_weight"}
    assert not any(each.any() or each.requires_grad for each in found.values())


def test_anchors_stand_for_all_untrusted_states(tmp_path: Path) -> None:
    """An anchor's loss is its state's times the weight, and each state is drawn as often."""
    network = student(tmp_path)
    trusted = untrusted(1, 4, 8, 15, 17, 28)
    everything = branch()(work(network, trusted))
    assert set(everything["anchor_weight"].tolist()) == {0.0, 1.0}
    counts: Counter[int] = Counter()
    for step in range(200):
        job = RowWork(two(), {"trusted": trusted}, network, None, {}, step, 0, 7)  # type: ignore[arg-type]
        anchors = branch(anchors=1)._anchors(job)
        assert anchors.weights.tolist() == [4.0, 2.0]
        counts.update(anchors.numbers.tolist())
    assert set(counts) == {1, 4, 8, 15, 17, 28}
    assert all(30 < counts[number] < 72 for number in (1, 4, 8, 15))
    assert all(75 < counts[number] < 125 for number in (17, 28))
    few = branch(anchors=1)(work(network, trusted))
    chosen = few["anchor_weight"].nonzero().squeeze(-1)
    weight = few["anchor_weight"][chosen]
    torch.testing.assert_close(few["loss"][chosen], weight * everything["loss"][chosen])


@pytest.mark.parametrize("checkpointing", [True, False])
def test_the_gradient_is_that_of_the_weighted_scores(
    tmp_path: Path, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = student(tmp_path, activation_checkpointing=checkpointing)
    trusted = untrusted(2, 20)
    job = work(network, trusted)
    found = branch(weight=0.5, anchors=1)(job)
    assert network.training
    torch.autograd.backward(found["loss"].sum() * 3)
    joint = {name: copy(each.grad) for name, each in network.named_parameters()}
    network.zero_grad()
    total = torch.zeros(())
    drawn: list[Segments] = []

    def remember(*arguments: Any) -> Segments:
        drawn.append(sample(*arguments))
        return drawn[-1]

    monkeypatch.setattr(module, "sample", remember)
    branch()(work(network, trusted))
    projections = unit_projections(
        4, 32, torch.Generator().manual_seed(module._seed(job, "projections"))
    )
    network.eval()
    for number, place in enumerate(
        [Place(job.row.trajectories[0], 4), Place(job.row.trajectories[1], 3)]
    ):
        prefix = torch.from_numpy(place.trajectory.ids[: place.state + 1]).long()
        ours = drawn[0].ids[number * K : number * K + K]
        theirs = 10 + torch.arange(K * L).view(K, L)

        def run(
            ids: Tensor, prefix: Tensor = prefix, at: int = place.state
        ) -> tuple[Tensor, Tensor]:
            hidden = network.hidden(
                torch.cat([prefix, ids])[None], torch.arange(len(prefix) + len(ids))[None]
            )
            log_p = (hidden[at:-1] @ network.head.T).log_softmax(-1)
            return log_p.gather(-1, ids[:, None]).sum(), hidden[at + 1 :].mean(0).detach()

        scored = [run(ids) for ids in ours]
        mine = torch.stack([embedding for _, embedding in scored])
        other = torch.stack([run(ids)[1] for ids in theirs])
        weights = segment_weights(other, mine, projections, SegmentSettings().estimator)
        total = total + (weights * torch.stack([log_p for log_p, _ in scored])).sum()
    torch.autograd.backward(total * 1.5)
    assert float(max(each.abs().max() for each in joint.values())) > 1e-3
    for name, each in network.named_parameters():
        torch.testing.assert_close(joint[name], copy(each.grad), rtol=1e-3, atol=1e-5)


def test_switches_change_what_they_say(tmp_path: Path) -> None:
    network = student(tmp_path, adapter=ADAPTER)
    torch.manual_seed(0)
    for name, each in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(each, std=0.2)
    trusted = untrusted(2, 20)

    def distances(**changes: Any) -> list[float]:
        torch.manual_seed(0)
        found: list[float] = branch(**changes)(work(network, trusted))["segment_distance"].tolist()
        return [found[2], found[20]]

    plain = distances()
    assert distances() == plain
    assert distances(encoder="frozen") != plain
    assert distances(distance="mmd") != plain
    assert distances(projections=5) != plain
    assert distances(estimator="vanilla") == plain
    with pytest.raises(MismatchError, match="this student has none"):
        branch(encoder="frozen")(work(student(tmp_path), trusted))


def test_a_frozen_encoder_is_the_student_before_it_learnt(tmp_path: Path) -> None:
    network = student(tmp_path, adapter=ADAPTER | {"dropout": 0.0})  # B = 0: it has not learnt
    trusted = untrusted(2, 20)
    current = branch()(work(network, trusted))["segment_distance"]
    frozen = branch(encoder="frozen")(work(network, trusted))["segment_distance"]
    torch.testing.assert_close(current, frozen, rtol=1e-4, atol=1e-6)


def test_a_teacher_that_cannot_continue_is_named(tmp_path: Path) -> None:
    job = work(student(tmp_path), untrusted(2))

    class Silent:
        class model:
            name = "far-away"

    job.teachers[Role.TEACHER] = Silent()  # type: ignore[index]
    with pytest.raises(MismatchError, match="teacher far-away cannot be asked for continuations"):
        branch()(job)
