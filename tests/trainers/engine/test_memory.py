"""The dry run's estimate against what a training takes."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainers.data.runs_on_disk import write_run
from tests.trainers.engine.material import settings, validated, write_model
from trainers.engine.memory import estimate_memory
from trainers.engine.run import plan
from trainers.serving.shipped import file_sha256

SIZES = {
    "vocab_size": 40_000,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "head_dim": 64,
}


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [{"rank": 2}, None])
def test_an_estimate_is_near_what_is_taken(tmp_path: Path, adapter: Any) -> None:
    """From 0.8 to 1.5 times the peak of the process."""
    names = ("student", "teacher")
    models = {name: write_model(tmp_path / name, 1, **SIZES) for name in names}
    tokenizer = file_sha256(models["student"] / "tokenizer.json")
    run = write_run(tmp_path / "run", tokenizer=tokenizer, instances=6)
    values = settings(tmp_path / "out", models, run)
    values["student"]["adapter"] = adapter
    values["batch"] = {"trajectories": 12, "row_tokens": 400, "chunk": 128}
    values["optimiser"]["steps"] = 1
    estimate = plan(validated(values)).memory.total
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(values))
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "trainers.train", str(config)],
        os.environ | {"OMP_NUM_THREADS": "1"},
    )
    _, status, usage = os.wait4(process, 0)
    assert status == 0
    taken = usage.ru_maxrss * 1024
    assert 0.8 * taken <= estimate <= 1.5 * taken


def test_a_teacher_elsewhere_takes_nothing(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    values = settings(tmp_path, models, run)
    here = estimate_memory(validated(values), 100)
    values["teacher"] = {"kind": "vllm", "endpoint": "http://127.0.0.1:1", "model": "large"}
    there = estimate_memory(validated(values), 100)
    assert here.total - there.total == here.parts["teacher"] > 0
