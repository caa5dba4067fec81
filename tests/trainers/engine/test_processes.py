"""Several processes, and processes that are killed: the same numbers as one that is left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.trainers.engine.material import settings, validated
from trainers.engine.run import train

pytestmark = pytest.mark.slow
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def write(path: Path, values: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


def curve(out: Path) -> list[tuple[float, float, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["loss"], line["gradient_norm"], line["tv"]) for line in lines]


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_give_the_curve_of_one(
    models: dict[str, Path], run: Path, tmp_path: Path, sharding: str
) -> None:
    student = {"model": str(models["student"]), "dtype": "float32", "adapter": None}
    batch = {"trajectories": 5, "row_tokens": 40, "chunk": 7}
    values = settings(tmp_path / "one", models, run, student=student, batch=batch)
    values["optimiser"] = {"steps": 8, "learning_rate": 0.003}
    train(validated(values))
    both = values | {"out": str(tmp_path / "two"), "sharding": sharding}
    config = write(tmp_path / "two.yaml", both)
    command = [sys.executable, *TORCHRUN, "-m", "trainers.train", str(config)]
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=300)
    np.testing.assert_allclose(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=1e-5)
    one, two = (load_file(tmp_path / out / "final" / "model.safetensors") for out in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-3, atol=1e-4)


def test_killed_and_continued_gives_the_same_weights(
    models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    adapter = {"rank": 2, "alpha": 4, "dropout": 0.2}
    student = {"model": str(models["student"]), "dtype": "bfloat16", "adapter": adapter}
    values = settings(tmp_path / "straight", models, run, student=student)
    values["optimiser"] |= {"steps": 40}
    values["checkpoints"] = {"every": 3, "keep": 2}
    module = [sys.executable, "-m", "trainers.train"]  # as many threads for each
    straight = [*module, str(write(tmp_path / "straight.yaml", values))]
    subprocess.run(straight, check=True, env=ENVIRONMENT, timeout=300)
    killed = tmp_path / "killed"
    command = [*module, str(write(tmp_path / "killed.yaml", values | {"out": str(killed)}))]
    process = subprocess.Popen(command, env=ENVIRONMENT)
    deadline = time.monotonic() + 240
    while len(curve_lines(killed)) < 7 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was not in the middle any more"
    assert not (killed / "final").exists()
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=300)
    assert curve(killed) == curve(tmp_path / "straight")
    folders = [killed / "final", tmp_path / "straight" / "final"]
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def curve_lines(out: Path) -> list[str]:
    path = out / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []
