"""Continuations behind a shared prefix are those of one forward pass each, gradient included."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.engine.material import write_model
from tests.trainers.segments.material import CPU, student, trajectory, two
from trainers.engine.errors import MismatchError
from trainers.engine.networks import Network, load_frozen
from trainers.segments.continuation import Starts, follow, sample
from trainers.segments.local import LocalSegments, run_of, starts_of, stop_ids
from trainers.segments.prefixes import keeping_prefix
from trainers.segments.sampling import Place, Segments, SegmentSource, choose, uniforms
from trainers.teachers.local import LocalTeacher

K, L = 3, 5


def places() -> list[Place]:
    one, other = two().trajectories
    return [Place(one, 7), Place(one, 19), Place(other, 2), Place(other, 0)]


def begin() -> tuple[Starts, Tensor]:
    at = torch.cat([uniforms(place, K, L, 1) for place in places()])
    return starts_of(places(), [0, 0, 20, 20], K, CPU), at


def dense(network: Network, place: Place, ids: Tensor) -> Tensor:
    """Log-probabilities `(L, V)` of the tokens behind a place, from a pass without any cache."""
    before = torch.from_numpy(place.trajectory.ids[: place.state + 1]).long()
    whole = torch.cat([before, ids])[None]
    logits = network.causal(input_ids=whole, use_cache=False).logits[0]
    log_p: Tensor = logits.log_softmax(-1)[place.state : -1]
    return log_p


@pytest.mark.parametrize("checkpointing", [True, False])
def test_sampled_and_scored_as_one_by_one(tmp_path: Path, checkpointing: bool) -> None:
    network = student(tmp_path, activation_checkpointing=checkpointing)
    row = two()
    with keeping_prefix(network) as prefix:
        hidden = network.hidden(row.ids, row.positions)
    plain = network.hidden(row.ids, row.positions)
    assert torch.equal(hidden, plain), "keeping changes the pass"
    assert network.causal.config._attn_implementation == "sdpa"
    network.eval()
    starts, at = begin()
    found = sample(run_of(network), prefix, starts, network.head, at, ())
    assert found.lengths.tolist() == [L] * len(at)
    followed = follow(run_of(network), prefix, starts, found)
    inner = followed.offsets < L
    log_p = (followed.hidden[0, inner] @ network.head.T).log_softmax(-1)
    ids = found.ids.flatten()
    loss = hidden.sum() + log_p.gather(-1, ids[:, None]).square().sum()
    network.train()
    torch.autograd.backward(loss)
    joint = {name: each.grad for name, each in network.named_parameters()}
    network.zero_grad()
    loss = network.hidden(row.ids, row.positions).sum()
    for number, place in enumerate(p for p in places() for _ in range(K)):
        expected = dense(network, place, found.ids[number])
        drawn = [int(choose(expected[n][None], at[number, n : n + 1])) for n in range(L)]
        assert drawn == found.ids[number].tolist()
        torch.testing.assert_close(log_p[number * L : number * L + L], expected)
        loss = loss + expected.gather(-1, found.ids[number][:, None]).square().sum()
    torch.autograd.backward(loss)
    for name, each in network.named_parameters():
        torch.testing.assert_close(joint[name], each.grad, rtol=1e-4, atol=1e-4)


def test_a_continuation_ends_with_the_turn(tmp_path: Path) -> None:
    network = student(tmp_path).eval()
    row = two()
    with keeping_prefix(network) as prefix:
        network.hidden(row.ids, row.positions)
    starts, at = begin()
    long = sample(run_of(network), prefix, starts, network.head, at, ())
    stop = int(long.ids[4, 1])
    short = sample(run_of(network), prefix, starts, network.head, at, [stop])
    for number in range(len(at)):
        ids = long.ids[number].tolist()
        length = ids.index(stop) + 1 if stop in ids else L
        assert int(short.lengths[number]) == length
        assert short.ids[number].tolist() == ids[:length] + [0] * (L - length)
    assert 2 in short.lengths.tolist()
    assert stop_ids(network) == (257,)


def test_ids_are_drawn_in_their_shares() -> None:
    logits = torch.tensor([0.1, 0.0, 0.6, 0.3]).log()
    at = torch.arange(0.0005, 1, 0.001, dtype=torch.float64)
    found = choose(logits.expand(len(at), -1), at)
    assert torch.bincount(found, minlength=4).tolist() == [100, 0, 600, 300]


def test_a_teacher_continues_what_it_was_asked_for_last(tmp_path: Path) -> None:
    network = load_frozen(str(write_model(tmp_path / "t", 1)), "float32", None, CPU)
    keeping, other = LocalTeacher(network, keep=True), LocalTeacher(network)
    assert isinstance(keeping, SegmentSource)
    plain = other.project(two().trajectories).hidden
    assert torch.equal(keeping.project(two().trajectories).hidden, plain)
    passes = []
    network.causal.base_model.layers[0].register_forward_hook(lambda *_: passes.append(1))

    def drawn(source: SegmentSource, wanted: list[Place], seed: int = 3) -> list[list[int]]:
        found = source.continuations(wanted, K, L, seed)
        return [each.ids.flatten().tolist() for each in found]

    kept = drawn(keeping, places())
    assert len(passes) == L
    assert drawn(other, places()) == kept
    assert len(passes) == 2 * L + 2, "one more pass for each trajectory that was not kept"
    alone = [drawn(keeping, [place])[0] for place in places()]
    assert alone == kept, "what is drawn for a place depends on the others"
    assert drawn(keeping, places(), seed=4) != kept
    keeping.project([trajectory("run/c/0#0", 9)])
    assert drawn(keeping, places()) == kept


def test_sliding_windows_are_refused(tmp_path: Path) -> None:
    changes = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    network = load_frozen(str(write_model(tmp_path / "t", 1, **changes)), "float32", None, CPU)
    with pytest.raises(MismatchError, match="layers of full_attention, sliding_attention"):
        LocalSegments(network).continuations(places(), K, L, 0)


def test_lengths_of_given_segments_are_kept_apart(tmp_path: Path) -> None:
    """Hidden states of a short segment do not depend on a longer neighbour."""
    network = student(tmp_path).eval()
    row = two()
    with keeping_prefix(network) as prefix:
        network.hidden(row.ids, row.positions)
    starts, _ = begin()
    ids = torch.arange(len(starts.tokens) * L).view(-1, L)
    lengths = torch.arange(len(ids)) % L + 1
    together = follow(run_of(network), prefix, starts, Segments(ids, lengths))
    for number in (0, 3, 11):
        part = slice(number, number + 1)
        alone = follow(
            run_of(network), prefix, starts.select(part), Segments(ids[part], lengths[part])
        )
        torch.testing.assert_close(
            together.hidden[0, together.owners == number], alone.hidden[0], rtol=1e-4, atol=1e-5
        )
        assert len(alone.offsets) == int(lengths[number]) + 1
