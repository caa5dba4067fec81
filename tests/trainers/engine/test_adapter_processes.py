"""Training of an adapter that two processes begin, SIGKILL ends, and one process finishes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.trainers.data.triples_on_disk import ten_triples, write_triples
from tests.trainers.engine.material import validated
from tests.trainers.engine.test_adapters import adapters
from tests.trainers.engine.test_trainer import metrics
from trainers.engine.run import train
from trainers.serving.shipped import file_sha256

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.slow
def test_two_processes_that_are_killed_are_one_that_is_not(
    models: dict[str, Path], tmp_path: Path
) -> None:
    tokenizer = file_sha256(models["teacher"] / "tokenizer.json")
    triples = write_triples(tmp_path / "call_graph.parquet", ten_triples(), tokenizer)
    values = adapters(tmp_path / "one", models, triples)
    values["batch"] = {"trajectories": 6, "row_tokens": 40, "chunk": 7}
    values["optimiser"] |= {"steps": 24}
    values["checkpoints"] = {"every": 3, "keep": 2}
    config = tmp_path / "two.yaml"
    config.write_text(yaml.safe_dump(values | {"out": str(tmp_path / "two")}))
    command = [sys.executable, *TORCHRUN, "-m", "trainers.train", str(config)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    checkpoints = tmp_path / "two" / "checkpoints"
    deadline = time.monotonic() + 240
    while not [*checkpoints.glob("step-*")] and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reached = max(int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-*"))
    assert reached < 24, "it was not in the middle any more"
    for out in ("one", "two"):
        train(validated(values | {"out": str(tmp_path / out)}))
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    for name in ("loss", "gradient_norm"):
        curves = [[line[name] for line in lines] for lines in (one, two)]
        np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
    files = [tmp_path / out / "final" / "adapter_model.safetensors" for out in ("one", "two")]
    first, second = (load_file(file) for file in files)
    assert first.keys() == second.keys()
    for name, weights in first.items():
        torch.testing.assert_close(second[name], weights, rtol=1e-3, atol=1e-4)
