"""Losses in chunks over packed rows are those of the models' own logits, one sequence at a time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Gemma2Config, Gemma2ForCausalLM

from tests.trainers.engine.material import write_model
from tests.trainers.tiny import byte_tokenizer
from trainers.data.packing import make_row
from trainers.data.runs import read_runs
from trainers.data.trajectories import Trajectory
from trainers.engine.config import LoraSettings, StudentSettings
from trainers.engine.errors import MismatchError
from trainers.engine.networks import ADAPTER_FILE, Network, load_frozen, load_student
from trainers.methods.reverse_kl_opd import ReverseKLOPD
from trainers.serving.shipped import ModelError
from trainers.teachers.local import LocalTeacher

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trajectories(run: Path) -> list[Trajectory]:
    return read_runs([run], "student", max_tokens=200).trajectories


def student(models: dict[str, Path], **changes: Any) -> Network:
    torch.manual_seed(3)
    values = {"model": str(models["student"]), "dtype": "float32", "adapter": None, **changes}
    return load_student(StudentSettings.model_validate(values), CPU)


def teacher(models: dict[str, Path]) -> Network:
    return load_frozen(str(models["teacher"]), "float32", None, CPU)


def gradients(network: Network) -> dict[str, Tensor]:
    found = {
        name: each.grad.clone()
        for name, each in network.named_parameters()
        if each.grad is not None
    }
    network.zero_grad()
    return found


def test_a_packed_row_in_chunks_is_each_sequence_by_itself(
    models: dict[str, Path], trajectories: list[Trajectory]
) -> None:
    network, other = student(models), teacher(models)
    states = LocalTeacher(other).project(trajectories)
    result = network(make_row(trajectories), [states], ReverseKLOPD(), 7)
    result["loss"].sum().backward()
    packed = gradients(network)
    expected = []
    for one in trajectories:
        ids = torch.from_numpy(one.ids).long()[None]
        at = torch.from_numpy(one.positions) - 1
        log_p = network.causal(input_ids=ids, use_cache=False).logits[0, at].log_softmax(-1)
        with torch.no_grad():
            log_q = other.causal(input_ids=ids, use_cache=False).logits[0, at].log_softmax(-1)
        expected.append((log_p.exp() * (log_p - log_q)).sum(-1))
    dense = torch.cat(expected)
    torch.testing.assert_close(result["loss"], dense, rtol=1e-4, atol=1e-5)
    torch.autograd.backward(dense.sum())
    for name, found in gradients(network).items():
        torch.testing.assert_close(packed[name], found, rtol=1e-3, atol=1e-4, msg=name)


def test_activation_checkpointing_changes_nothing(
    models: dict[str, Path], trajectories: list[Trajectory]
) -> None:
    found = []
    for on in (True, False):
        network = student(models, activation_checkpointing=on)
        assert network.causal.is_activation_checkpointing is on
        states = LocalTeacher(teacher(models)).project(trajectories)
        network(make_row(trajectories), [states], ReverseKLOPD(), 9)["loss"].sum().backward()
        found.append(gradients(network))
    for name, one in found[0].items():
        torch.testing.assert_close(one, found[1][name], rtol=1e-5, atol=1e-6)


def test_an_adapter_is_float32_on_a_frozen_half_and_losses_are_float32(
    models: dict[str, Path], trajectories: list[Trajectory]
) -> None:
    network = student(models, dtype="bfloat16", adapter=LoraSettings(rank=2))
    trained = {n: p.dtype for n, p in network.named_parameters() if p.requires_grad}
    frozen = {p.dtype for p in network.parameters() if not p.requires_grad}
    assert set(trained.values()) == {torch.float32}
    assert all("lora_" in name for name in trained)
    assert frozen == {torch.bfloat16}
    states = LocalTeacher(teacher(models)).project(trajectories)
    row = make_row(trajectories)
    assert network.projection(row).hidden.dtype is torch.bfloat16
    result = network(row, [states], ReverseKLOPD(), 9)
    assert result["loss"].dtype is torch.float32
    result["loss"].sum().backward()
    assert gradients(network).keys() == trained.keys()


def test_whole_models_keep_float32_weights_under_half_arithmetic(
    models: dict[str, Path], trajectories: list[Trajectory]
) -> None:
    network = student(models, dtype="bfloat16")
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    row = make_row(trajectories)
    half = network.projection(row)
    whole = student(models).projection(row)
    assert half.hidden.dtype is half.head.dtype is torch.bfloat16
    assert not torch.equal(half.hidden.float(), whole.hidden)
    torch.testing.assert_close(half.hidden.float(), whole.hidden, rtol=0.1, atol=0.2)


def test_capped_logits_are_refused(tmp_path: Path) -> None:
    config = Gemma2Config(
        vocab_size=258,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=1.0,
        initializer_range=0.5,
    )
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(MismatchError, match="capped or biased logits; 'gemma2' models cannot"):
        load_frozen(str(tmp_path), "float32", None, CPU)


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
def test_an_adapter_of_another_base_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    network = student(models, adapter=LoraSettings(rank=2))
    network.model.save_pretrained(str(tmp_path))  # type: ignore[operator]
    assert load_frozen(str(models["student"]), "float32", tmp_path, CPU).sha256
    with pytest.raises(MismatchError, match=f"adapter {tmp_path} does not fit the model"):
        load_frozen(str(models["teacher"]), "float32", tmp_path, CPU)
    deeper = write_model(tmp_path / "deeper", 0, num_hidden_layers=3)
    with pytest.raises(MismatchError, match="weights are in one alone"):
        load_frozen(str(deeper), "float32", tmp_path, CPU)
    weights = load_file(tmp_path / ADAPTER_FILE)
    save_file(weights, tmp_path / ADAPTER_FILE, metadata={"base_weights_sha256": "f" * 64})
    with pytest.raises(MismatchError, match=f"adapter {tmp_path} was trained on weights ffff"):
        load_frozen(str(models["student"]), "float32", tmp_path, CPU)
    (tmp_path / ADAPTER_FILE).write_bytes(b"short")
    with pytest.raises(MismatchError, match=f"adapter {tmp_path}: needs adapter_config.json"):
        load_frozen(str(models["student"]), "float32", tmp_path, CPU)


def test_a_model_that_is_not_there_and_targets_that_it_has_not(models: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="no model 'nowhere'"):
        load_frozen("nowhere", "float32", None, CPU)
    with pytest.raises(MismatchError, match="no such LoRA"):
        student(models, adapter=LoraSettings(targets=("c_attn",)))


def test_a_teachers_states_do_not_depend_on_company_and_are_cached(
    models: dict[str, Path], trajectories: list[Trajectory], tmp_path: Path
) -> None:
    network = teacher(models)
    together = LocalTeacher(network, tmp_path).project(trajectories)
    assert not together.hidden.requires_grad
    alone = [LocalTeacher(network).project([one]).hidden for one in trajectories]
    assert torch.equal(together.hidden, torch.cat(alone))
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == len(trajectories)
    hidden = load_file(files[0])["hidden"]
    save_file({"hidden": hidden + 1}, files[0])
    files[1].write_bytes(files[1].read_bytes()[:50])
    again = LocalTeacher(network, tmp_path).project(trajectories)
    changed = (again.hidden != together.hidden).any(-1).sum()
    assert int(changed) == len(hidden), "read from the cache, and the damaged one made again"
    with torch.no_grad():
        network.sha256 = "other weights"
    fresh = LocalTeacher(network, tmp_path).project(trajectories)
    assert torch.equal(fresh.hidden, together.hidden)
