"""From a configuration to a result that other programs load; what does not belong is refused."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.records import RunFolder
from tests.trainers.data.runs_on_disk import call, write_attempt, write_run
from tests.trainers.engine.material import CONTEXT, settings, validated, write_model
from trainers.data.errors import DataError
from trainers.engine.config import LoraSettings
from trainers.engine.errors import BusyError, MismatchError
from trainers.engine.memory import estimate_memory
from trainers.engine.networks import load_student
from trainers.engine.run import plan, train
from trainers.engine.show import show_plan
from trainers.serving.shipped import file_sha256


def one_step(out: Path, models: dict[str, Path], run: Path, **changes: Any) -> dict[str, Any]:
    return settings(
        out, models, run, **{"optimiser": {"steps": 1, "learning_rate": 0.1}, **changes}
    )


def test_an_adapter_is_loaded_by_peft(models: dict[str, Path], run: Path, tmp_path: Path) -> None:
    values = validated(one_step(tmp_path / "a", models, run))
    folder = train(values)
    base = AutoModelForCausalLM.from_pretrained(models["student"])
    ids = torch.arange(9)[None]
    before = base(input_ids=ids).logits
    after = PeftModel.from_pretrained(base, str(folder)).eval()(input_ids=ids).logits
    assert not torch.allclose(after, before)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(models["student"])
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        facts = file.metadata()
    assert facts["base_weights_sha256"] == file_sha256(models["student"] / "model.safetensors")
    onwards = one_step(tmp_path / "b", models, run)
    onwards["student"]["adapter"] = {"start": str(folder)}
    started = load_student(validated(onwards).student, torch.device("cpu")).eval()
    torch.testing.assert_close(started.causal(input_ids=ids).logits, after)
    onwards["student"]["model"] = str(write_model(tmp_path / "other", 5))
    with pytest.raises(MismatchError, match=f"adapter {folder} was trained on weights"):
        train(validated(onwards))


def test_a_whole_model_is_loaded_by_transformers(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    student = {"model": str(models["student"]), "dtype": "bfloat16", "adapter": None}
    folder = train(validated(one_step(tmp_path, models, run, student=student)))
    trained = AutoModelForCausalLM.from_pretrained(folder)
    assert trained.dtype is torch.bfloat16
    before = AutoModelForCausalLM.from_pretrained(models["student"])
    assert trained.config.to_dict().keys() == before.config.to_dict().keys()
    pairs = zip(trained.parameters(), before.parameters(), strict=True)
    assert all(not torch.equal(one.float(), other) for one, other in pairs)
    tokenizers = [AutoTokenizer.from_pretrained(each) for each in (folder, models["student"])]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()
    name = "tokenizer.json"
    assert (folder / name).read_bytes() == (models["student"] / name).read_bytes()


def test_another_configuration_does_not_continue_a_training(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    values = one_step(tmp_path / "out", models, run)
    train(validated(values))
    with pytest.raises(MismatchError, match=r"holds a training with settings\.seed = 0, not 1"):
        train(validated(values | {"seed": 1}))
    train(validated(values | {"checkpoints": {"every": 7}}))
    longer = write_run(tmp_path / "longer" / run.name, instances=4)
    data = {"student_runs": [str(longer)]}
    (tmp_path / "out" / "training.json").write_text(
        (tmp_path / "out" / "training.json").read_text().replace(str(run), str(longer))
    )
    with pytest.raises(MismatchError, match="holds a training with data_sha256"):
        train(validated(values | {"data": data}))


def test_two_trainings_do_not_share_a_folder(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    handle = os.open(tmp_path / ".lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(BusyError, match=f"another process trains into {tmp_path}"):
        train(validated(one_step(tmp_path, models, run)))
    os.close(handle)


def test_data_that_do_not_suit_are_refused(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    def refused(error: type[Exception], text: str, **changes: Any) -> None:
        with pytest.raises(error, match=text):
            train(validated(one_step(tmp_path / "out", models, run, **changes)))

    theirs = {"data": {"teacher_runs": [str(run)]}}
    refused(DataError, r"opd trains on trajectories of the student.*data\.student_runs", **theirs)
    refused(DataError, r"of the teacher.*data\.teacher_runs", method={"name": "gkd"})
    foreign = write_run(tmp_path / "foreign", tokenizer="feed" * 16)
    refused(MismatchError, "feedfeedfeed…", data={"student_runs": [str(foreign)]})
    empty = write_run(tmp_path / "empty", instances=0)
    write_attempt(RunFolder(empty), "i", 0, [call(1, [1, 2], [])], None)
    text = "no trajectory with sampled tokens in .*/empty .*1 sequences left out: no sampled token"
    refused(DataError, text, data={"student_runs": [str(empty)]})
    long = write_run(tmp_path / "long", instances=0)
    write_attempt(RunFolder(long), "i", 0, [call(1, [1] * CONTEXT, [2])], None)
    text = rf"long/i/0#0 has {CONTEXT + 1} tokens, but model student takes {CONTEXT}"
    refused(MismatchError, text, data={"student_runs": [str(long)]})


def test_a_plan_says_what_a_training_would_do(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    values = validated(one_step(tmp_path / "out", models, run))
    text = show_plan(values, plan(values))
    assert "6 sequences of 3 instances, 12 turns" in text
    assert "3 resolved, 3 not, 0 not graded" in text
    assert "1 of 3 sequences: 0.50 epochs; 0 done" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("adapter", [None, LoraSettings(rank=3)])
def test_the_estimate_counts_what_is_loaded(
    models: dict[str, Path], run: Path, tmp_path: Path, adapter: LoraSettings | None
) -> None:
    student = {"model": str(models["student"]), "adapter": adapter and adapter.model_dump()}
    values = validated(one_step(tmp_path, models, run, student=student))
    network = load_student(values.student, torch.device("cpu"))
    estimate = estimate_memory(values, 100)
    sizes = [(each.numel(), each.requires_grad) for each in network.parameters()]
    assert estimate.parameters == sum(size for size, _ in sizes)
    assert estimate.trained == sum(size for size, trained in sizes if trained)
    held = sum(each.numel() * each.element_size() for each in network.parameters())
    assert estimate.parts["student's weights"] == held
    assert estimate.total > held
