"""`harness train adapters`: an adapter for a PI source, from triples."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftConfig
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file

from tests.trainers.data.triples_on_disk import ten_triples, triple, write_triples
from tests.trainers.engine.material import validated
from tests.trainers.engine.test_trainer import metrics, numbers, stopped_after
from trainers.data.errors import DataError
from trainers.engine.errors import MismatchError
from trainers.engine.material import gather_material
from trainers.engine.networks import load_student
from trainers.engine.run import plan, train
from trainers.engine.show import show_plan
from trainers.engine.trainer import Trainer
from trainers.serving.shipped import file_sha256
from trainers.train import main


def adapters(out: Path, models: dict[str, Path], *files: Path, **changes: Any) -> dict[str, Any]:
    return {
        "out": str(out),
        "method": {"name": "adapters"},
        "student": {
            "model": str(models["teacher"]),
            "dtype": "float32",
            "adapter": {"rank": 2, "alpha": 4, "dropout": 0.2},
        },
        "data": {"triples": [str(path) for path in files]},
        "batch": {"trajectories": 4, "row_tokens": 64, "chunk": 7},
        "optimiser": {"steps": 4, "learning_rate": 0.01, "warm_up_steps": 0},
        "checkpoints": {"every": 1},
        **changes,
    }


def test_the_defaults_are_the_papers(models: dict[str, Path], triples: Path) -> None:
    least = {
        "out": "o",
        "method": {"name": "adapters"},
        "student": {"model": str(models["teacher"])},
        "data": {"triples": [str(triples)]},
        "optimiser": {"steps": 1000},
    }
    values = validated(least)
    adapter, optimiser = values.student.adapter, values.optimiser
    assert adapter is not None
    assert (adapter.rank, adapter.alpha, adapter.dropout) == (16, 32, 0.05)
    kinds = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert set(adapter.targets) == kinds
    assert (optimiser.learning_rate, optimiser.warm_up_steps) == (1e-4, 200)
    assert (optimiser.betas, optimiser.weight_decay) == ((0.9, 0.95), 0.1)
    assert optimiser.schedule == "cosine"
    other = validated(least | {"optimiser": {"steps": 1000, "warm_up_steps": 5}})
    assert other.optimiser.warm_up_steps == 5
    opd = least | {"method": {"name": "sft"}, "data": {"student_runs": ["r"]}}
    assert validated(opd).optimiser.warm_up_steps == 0


def test_only_the_adapter_learns_and_only_from_actions(
    models: dict[str, Path], triples: Path, tmp_path: Path
) -> None:
    values = validated(adapters(tmp_path, models, triples))
    network = load_student(values.student, torch.device("cpu"))
    material = gather_material(values)
    trainer = Trainer(values, network, {}, material.trajectories, material.cursor, _one())
    before = {name: each.clone() for name, each in network.named_parameters()}
    numbers = trainer.step(0)
    changed = {n for n, each in network.named_parameters() if not torch.equal(each, before[n])}
    assert changed == {name for name in before if "lora_" in name}, "A decays while B is 0"
    assert all("lora_" in name for name in trainer.parameters)
    assert all(
        each.grad is None for name, each in network.named_parameters() if "lora_" not in name
    )
    assert numbers["tokens"] == 4 * len("<a>")


def _one() -> Any:
    from trainers.engine.ranks import join_ranks

    return join_ranks("cpu")


def test_an_adapter_learns_its_actions_and_says_where_it_is_from(
    models: dict[str, Path], triples: Path, tmp_path: Path
) -> None:
    values = adapters(tmp_path, models, triples)
    values["optimiser"] |= {"steps": 14, "schedule": "constant"}
    values["checkpoints"] = {"every": 14}
    folder = train(validated(values))
    losses = [line["loss"] for line in metrics(tmp_path)]
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])
    assert PeftConfig.from_pretrained(str(folder)).peft_type == "LORA"
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        facts, names = file.metadata(), set(file.keys())
    base = file_sha256(models["teacher"] / "model.safetensors")
    assert facts == {"format": "pt", "base_weights_sha256": base, "pi_source": "call_graph"}
    assert all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in names)
    card = json.loads((folder / "training.json").read_text())
    facts = card["triples"][str(triples)]
    assert facts["sha256"] == file_sha256(triples)
    assert facts["rows"] == 10


def test_a_resumed_training_is_the_same_to_the_bit(
    models: dict[str, Path], triples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(validated(adapters(tmp_path / "straight", models, triples)))
    halted = adapters(tmp_path / "halted", models, triples)
    stopped_after(2, validated(halted), monkeypatch)
    train(validated(halted))
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "halted")
    file = "final/adapter_model.safetensors"
    one, other = (load_file(tmp_path / out / file) for out in ("straight", "halted"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_all_weights_of_several_sources(
    models: dict[str, Path], triples: Path, tmp_path: Path
) -> None:
    tokenizer = file_sha256(models["teacher"] / "tokenizer.json")
    other = write_triples(tmp_path / "b.parquet", ten_triples("gold_patch"), tokenizer)
    values = adapters(tmp_path / "out", models, triples, other)
    with pytest.raises(DataError, match="of call_graph, gold_patch, but an adapter is of one"):
        train(validated(values))
    values["student"]["adapter"] = None
    folder = train(validated(values))
    trained = load_file(folder / "model.safetensors")
    before = load_file(models["teacher"] / "model.safetensors")
    assert all(not torch.equal(trained[name], before[name]) for name in before)


def test_what_does_not_suit_is_refused(
    models: dict[str, Path], triples: Path, tmp_path: Path
) -> None:
    tokenizer = file_sha256(models["teacher"] / "tokenizer.json")

    def refused(error: type[Exception], text: str, rows: Any, sha: str = tokenizer) -> None:
        path = write_triples(tmp_path / "x.parquet", rows, sha)
        with pytest.raises(error, match=text):
            train(validated(adapters(tmp_path / "out", models, path)))

    refused(
        MismatchError,
        r"x\.parquet was sampled with a tokeniser feedfeedfeed…",
        ten_triples(),
        "feed" * 16,
    )
    few = [triple(number) for number in range(10)]
    refused(DataError, r"x\.parquet: 0\.0% of the triples have no PI, not 40%", few)
    refused(DataError, r"no triple in .*x\.parquet", [])
    foreign = ten_triples()
    foreign[3]["prompt_ids"] = [1, 999]
    refused(DataError, "has token id 999, but the student's vocabulary ends at 257", foreign)
    for data in ({"student_runs": ["r"]}, {"student_runs": ["r"], "triples": [str(triples)]}):
        with pytest.raises(ValidationError, match=r"adapters trains on data\.triples"):
            validated(adapters(tmp_path, models, data=data))
    with pytest.raises(ValidationError, match=r"data\.triples is for method adapters"):
        validated(adapters(tmp_path, models, triples, method={"name": "sft"}))


def test_the_plan_reports_the_share_without_pi(
    models: dict[str, Path], triples: Path, tmp_path: Path
) -> None:
    values = validated(adapters(tmp_path / "out", models, triples))
    text = show_plan(values, plan(values))
    assert "10 sequences of 3 instances" in text
    assert "4 triples without PI" in text


def test_the_command(
    models: dict[str, Path], triples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "adapters.yaml"
    values = adapters(tmp_path / "out", models, triples)
    del values["method"]
    config.write_text(yaml.safe_dump(values))
    assert main([str(config), "--method", "adapters", "--set", "optimiser.steps=1"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/final\n"
