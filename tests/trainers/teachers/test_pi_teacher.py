"""q and q^P from one mixed batch are those of separately loaded models, composed."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.trainers.data.triples_on_disk import ids_of
from tests.trainers.teachers.pi_material import CPU, SOURCES, TEXTS, pi_teacher, trajectory
from trainers.data.trajectories import Trajectory
from trainers.engine.config import Composition, Interface
from trainers.engine.networks import load_frozen
from trainers.losses.divergences import total_variation
from trainers.teachers import pi_teacher as module
from trainers.teachers.compose import compose_logits
from trainers.teachers.local import LocalTeacher
from trainers.teachers.pi_teacher import PITeacher


def logits(teacher: PITeacher, one: Trajectory) -> tuple[Tensor, Tensor]:
    """Of q and q^P at the sampled tokens."""
    both = [view.project([one]) for view in (teacher.base, teacher.pi)]
    return both[0].hidden @ both[0].head.T, both[1].hidden @ both[1].head.T


@torch.no_grad()
def separate(
    base: Path, adapter: Path | None, one: Trajectory, block: str, bos: bool = False
) -> Tensor:
    """The logits at the sampled tokens of a model that is loaded by itself."""
    model: Any = AutoModelForCausalLM.from_pretrained(base).eval()
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    front = ids_of(block) if block else []
    ids = one.ids.tolist()
    ids = [*ids[:1], *front, *ids[1:]] if bos else [*front, *ids]
    states = torch.from_numpy(one.positions) - 1 + len(front)
    found: Tensor = model(input_ids=torch.tensor([ids])).logits[0, states]
    return found


def blocked(text: str) -> str:
    return f"[PI]\n{text}\n[/PI]\n"


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("names", [SOURCES[:1], SOURCES[:2], SOURCES])
def test_composition_is_that_of_separately_loaded_models(
    base: Path, adapters: dict[str, Path], names: tuple[str, ...], bos: bool
) -> None:
    one = trajectory(bos=bos)
    some = {name: adapters[name] for name in names}
    q, q_pi = logits(pi_teacher(base, some, {name: TEXTS[name] for name in names}), one)
    alone = [separate(base, adapters[name], one, blocked(TEXTS[name]), bos) for name in names]
    plain = separate(base, None, one, "")
    close(q, plain)
    close(q_pi, compose_logits(plain, alone))
    assert float(total_variation(q.log_softmax(-1), q_pi.log_softmax(-1)).min()) > 0.01


def test_order_does_not_matter(base: Path, adapters: dict[str, Path]) -> None:
    found = []
    for names in itertools.permutations(SOURCES):
        some = {name: adapters[name] for name in names}
        found.append(
            logits(pi_teacher(base, some, {name: TEXTS[name] for name in names}), trajectory())[1]
        )
    assert all(torch.equal(found[0], other) for other in found)


def test_without_pi_there_is_no_difference_to_the_bit(
    base: Path, adapters: dict[str, Path]
) -> None:
    teacher = pi_teacher(base, adapters, dict.fromkeys(SOURCES, ""))
    q, q_pi = logits(teacher, trajectory())
    assert torch.equal(q, q_pi)
    assert [row.adapter for row in teacher.rows(trajectory())] == ["__base__"]


def test_each_turn_has_its_own_pi(base: Path, adapters: dict[str, Path]) -> None:
    """A turn without PI of a source is composed without it; its text may change by turn."""
    one = trajectory()
    texts = {"call_graph": ("a", "", "b"), "gold_patch": ("", "", "c")}
    some = {name: adapters[name] for name in texts}
    q, q_pi = logits(pi_teacher(base, some, texts), one)
    plain = separate(base, None, one, "")
    graph = {text: separate(base, adapters["call_graph"], one, blocked(text)) for text in "ab"}
    patch = separate(base, adapters["gold_patch"], one, blocked("c"))
    first, second, third = slice(0, 4), slice(4, 9), slice(9, 15)
    close(q_pi[first], graph["a"][first])
    assert torch.equal(q_pi[second], q[second])
    close(q_pi[third], compose_logits(plain, [graph["b"], patch])[third])


def test_the_interfaces(base: Path, adapters: dict[str, Path]) -> None:
    one, name = trajectory(), "call_graph"
    some, adapter = {name: adapters[name]}, adapters[name]

    def found(interface: Interface, text: str = TEXTS[name]) -> Tensor:
        teacher = pi_teacher(base, some, {name: text}, interface=interface)
        return logits(teacher, one)[1]

    close(found(Interface.CONTEXT), separate(base, adapter, one, blocked(TEXTS[name])))
    close(found(Interface.WEIGHTS_ONLY), separate(base, adapter, one, ""))
    close(found(Interface.NO_PI), separate(base, adapter, one, blocked("")))
    close(found(Interface.PROMPT), separate(base, None, one, blocked(TEXTS[name])))
    for interface in Interface:
        shuffled = found(interface, "of another instance")
        same = torch.equal(shuffled, found(interface))
        assert same == (interface in (Interface.WEIGHTS_ONLY, Interface.NO_PI)), interface
        plain = separate(base, None, one, "")
        assert torch.allclose(found(interface, ""), plain, atol=2e-4), "no PI: the base"


def test_composition_by_weights(base: Path, adapters: dict[str, Path]) -> None:
    """One row with the sum of the adapters; a single source is that source, exactly."""
    one = trajectory()
    names = ("call_graph", "gold_patch")
    texts: dict[str, Any] = {"call_graph": "f -> g", "gold_patch": ("x", "x", "")}
    some = {name: adapters[name] for name in names}
    teacher = pi_teacher(base, some, texts, composition=Composition.WEIGHTS)
    assert [row.adapter for row in teacher.rows(one)] == [
        "__base__", "call_graph", "call_graph+gold_patch",
    ]  # fmt: skip
    q, q_pi = logits(teacher, one)
    close(q, separate(base, None, one, ""))
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    for name in names:
        model = PeftModel.from_pretrained(model, str(adapters[name])).merge_and_unload()
    block = blocked("f -> g") + blocked("x")
    states = torch.from_numpy(one.positions) - 1 + len(block)
    ids = torch.tensor([[*ids_of(block), *one.ids.tolist()]])
    close(q_pi[:9], model.eval()(input_ids=ids).logits[0, states][:9])
    alone = separate(base, adapters["call_graph"], one, blocked("f -> g"))
    close(q_pi[9:], alone[9:])


def test_one_pass_gives_both_and_the_cache_none(
    base: Path, adapters: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trajectory()
    teacher = pi_teacher(base, adapters, TEXTS)
    passes: list[int] = []
    original = teacher._adapted.read

    def read(rows: Any, **options: Any) -> Any:
        passes.append(len(rows))
        return original(rows, **options)

    monkeypatch.setattr(teacher._adapted, "read", read)
    q, q_pi = logits(teacher, one)
    assert passes == [4], "one batch of the base and three sources"
    logits(pi_teacher(base, adapters, TEXTS, cache=tmp_path), one)
    again = pi_teacher(base, adapters, TEXTS, cache=tmp_path)
    monkeypatch.setattr(again._adapted, "read", None)
    assert all(torch.equal(a, b) for a, b in zip(logits(again, one), (q, q_pi), strict=True))
    other = pi_teacher(base, adapters, TEXTS | {"gold_patch": "- y\n+ x"}, cache=tmp_path)
    assert not torch.equal(logits(other, one)[1], q_pi), "other PI is other content"
    monkeypatch.setattr(module, "BATCH_TOKENS", 30)
    alone = logits(pi_teacher(base, adapters, TEXTS), one)
    close(alone[1], q_pi)


def test_a_trajectory_is_the_same_whatever_it_is_asked_with(
    base: Path, adapters: dict[str, Path]
) -> None:
    teacher = pi_teacher(base, adapters, TEXTS)
    one, other = trajectory(), trajectory("r/i/0#1")
    alone = teacher.pi.project([one]).hidden
    together = teacher.pi.project([other, one]).hidden
    assert torch.equal(together[len(other.positions) :], alone)
    assert torch.equal(teacher.pi.project([one, one]).hidden, torch.cat([alone, alone]))


def test_the_base_is_a_local_teacher_up_to_noise(base: Path, adapters: dict[str, Path]) -> None:
    one = trajectory()
    teacher = pi_teacher(base, adapters, TEXTS)
    local = LocalTeacher(load_frozen(str(base), "float32", None, CPU)).project([one])
    close(teacher.base.project([one]).hidden, local.hidden)
    (pair,) = teacher.replay([one])
    head = local.head.T
    noise = total_variation((pair.base @ head).log_softmax(-1), (pair.pi @ head).log_softmax(-1))
    assert float(noise.max()) < 1e-5
    assert torch.equal(pair.base, teacher.base.project([one]).hidden)
