"""Continuations of a teacher with PI are drawn from the composed distribution at every token."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainers.teachers.pi_material import TEXTS, pi_teacher, trajectory
from trainers.data.trajectories import Trajectory, Turn
from trainers.segments.sampling import Place, choose, uniforms
from trainers.teachers.pi_teacher import PITeacher

NAMES = ("call_graph", "gold_patch")


def teacher(base: Path, adapters: dict[str, Path], **options: object) -> PITeacher:
    some = {name: adapters[name] for name in NAMES}
    texts = {"call_graph": ("a", "", "b"), "gold_patch": TEXTS["gold_patch"]}
    return pi_teacher(base, some, texts, **options)


def continued(one: Trajectory, state: int, ids: list[int], number: int) -> Trajectory:
    """A trajectory up to a state with some more sampled tokens of the same turn."""
    joint = np.concatenate([one.ids[: state + 1], np.array(ids, np.int32)]).astype(np.int32)
    turns = (Turn(state + 1, len(joint), 1, 1, number),)
    return Trajectory(one.name, "i", "student", joint, turns, np.zeros(len(joint), np.float32))


@pytest.mark.parametrize("with_pi", [True, False])
def test_tokens_are_those_of_the_distributions_over_the_whole_sequence(
    base: Path, adapters: dict[str, Path], with_pi: bool
) -> None:
    whole = teacher(base, adapters)
    view = whole.pi if with_pi else whole.base
    one = trajectory()
    places = [Place(one, 2), Place(one, 12), Place(one, 20), Place(one, 4)]
    numbers = (1, 2, 3, 1)
    drawn = view.continuations(places, 3, 5, seed=9)
    for place, number, segments in zip(places, numbers, drawn, strict=True):
        at = uniforms(place, 3, 5, 9)
        for k in range(3):
            length = int(segments.lengths[k])
            ids = segments.ids[k, :length].tolist()
            states = view.project([continued(one, place.state, ids, number)])
            expected = choose(states.hidden @ states.head.T, at[k, :length]).tolist()
            assert ids == expected
            assert length == 5 or ids[-1] == 257


def test_kept_keys_and_values_change_nothing(base: Path, adapters: dict[str, Path]) -> None:
    one, other = trajectory(), trajectory("r/i/0#1")
    places = [Place(one, 12), Place(other, 5), Place(one, 20)]
    plain = teacher(base, adapters).pi.continuations(places, 2, 4, seed=1)
    keeping = teacher(base, adapters, keep=True)
    keeping.pi.project([one, other])
    assert len(keeping._kept) == 2
    found = keeping.pi.continuations(places, 2, 4, seed=1)
    for a, b in zip(plain, found, strict=True):
        assert torch.equal(a.ids, b.ids)
        assert torch.equal(a.lengths, b.lengths)


def test_first_tokens_have_the_composed_distribution(base: Path, adapters: dict[str, Path]) -> None:
    whole = teacher(base, adapters)
    one = trajectory()
    (drawn,) = whole.pi.continuations([Place(one, 18)], 800, 1, seed=3)
    states = whole.pi.project([one])
    p = (states.hidden[10] @ states.head.T).softmax(-1)
    found = Counter(drawn.ids[:, 0].tolist())
    top = p.topk(3)
    for share, token in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        assert abs(found[token] / 800 - share) < 4 * (share * (1 - share) / 800) ** 0.5
