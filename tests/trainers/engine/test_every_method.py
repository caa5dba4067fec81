"""Every method trains: a step moves the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.config.training import training_names
from tests.trainers.engine.material import settings, validated
from tests.trainers.engine.test_trainer import adapter, numbers, stopped_after
from trainers.engine.run import train

SETTINGS: dict[str, dict[str, Any]] = {
    "chop": {"segments": {"count": 2, "length": 3, "anchors": 2}, "noise_floor": 0},
    "omniopd": {"chunks": 2, "chunk_tokens": 2, "rollouts": 2},
}


@pytest.mark.parametrize("name", training_names())
def test_a_step_moves_the_weights(
    name: str,
    models: dict[str, Path],
    run: Path,
    contexts: Path,
    pi_adapters: dict[str, Path],
    triples: Path,
    tmp_path: Path,
) -> None:
    values = settings(tmp_path, models, run, method={"name": name} | SETTINGS.get(name, {}))
    values["data"]["teacher_runs"] = [str(run)]
    values["optimiser"]["steps"] = 1
    if name in ("chop", "opsd", "pi-distill"):
        values["teacher"]["adapters"] = {key: str(each) for key, each in pi_adapters.items()}
        values["pi"] = {"contexts": [str(contexts)]}
    if name == "adapters":
        values["data"] = {"triples": [str(triples)]}
        values["student"]["model"] = str(models["teacher"])
    if name == "omniopd":
        teacher = str(models["teacher"])
        values["text_teacher"] = {"kind": "local", "model": teacher, "prompt": "text"}
    train(validated(values))
    trained = [each for key, each in adapter(tmp_path).items() if "lora_B" in key]
    assert trained
    assert all(bool((each != 0).any()) for each in trained)


@pytest.mark.parametrize(
    "method", [{"name": "minillm"}, {"name": "reopold", "exploration_steps": 1, "kept": 0.5}]
)
def test_what_a_method_remembers_is_there_after_a_stop(
    method: dict[str, Any],
    models: dict[str, Path],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    straight, halted, again = (
        validated(settings(tmp_path / name, models, run, method=method))
        for name in ("straight", "halted", "halted")
    )
    train(straight)
    stopped_after(2, halted, monkeypatch)
    train(again)
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "halted")
    one, other = adapter(tmp_path / "straight"), adapter(tmp_path / "halted")
    assert all(torch.equal(one[name], other[name]) for name in one)
