"""Trainings whose teacher is in another process are those whose teacher is here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainers.engine.material import settings, validated
from tests.trainers.teachers.vllm_counterpart import NAME, Counterpart, serving
from trainers.engine.networks import load_frozen
from trainers.engine.run import train
from trainers.teachers.hidden_server import create_app


def curve(out: Path, name: str) -> list[float]:
    return [json.loads(line)[name] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def values(models: dict[str, Path], run: Path, tmp_path: Path) -> dict[str, Any]:
    found = settings(tmp_path / "here", models, run)
    found["optimiser"] = {"steps": 2, "learning_rate": 0.01}
    train(validated(found))
    return found


def test_hidden_states_give_the_same_weights(
    values: dict[str, Any], models: dict[str, Path], tmp_path: Path
) -> None:
    network = load_frozen(str(models["teacher"]), "float32", None, torch.device("cpu"))
    teacher = {"kind": "hidden_server", "model": "teacher"}
    with serving(create_app(network)) as endpoint:
        there = {"out": str(tmp_path / "there"), "teacher": teacher | {"endpoint": endpoint}}
        train(validated(values | there))
    files = [tmp_path / out / "final" / "adapter_model.safetensors" for out in ("here", "there")]
    here, found = map(load_file, files)
    assert all(torch.equal(found[name], weights) for name, weights in here.items())


def test_log_probs_give_the_same_curve(
    values: dict[str, Any], models: dict[str, Path], tmp_path: Path
) -> None:
    server = Counterpart(models["teacher"], {})
    teacher = {"kind": "vllm", "model": NAME, "tokenizer": str(models["teacher"]), "top": -1}
    there = values | {"out": str(tmp_path / "there")}
    with serving(server.app) as endpoint:
        train(validated(there | {"teacher": teacher | {"endpoint": endpoint}}))
    curves = [curve(tmp_path / out, "loss") for out in ("here", "there")]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
    assert curve(tmp_path / "there", "teacher_tail") == [0, 0]
    asked = len(server.asked)
    longer = there | {"checkpoints": {"every": 2, "keep": 1}}
    with serving(server.app) as endpoint:  # at another address
        train(validated(longer | {"teacher": teacher | {"endpoint": endpoint}}))
    assert len(server.asked) == asked + 1  # whether it is the same model
