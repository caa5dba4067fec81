"""A training that is asked to stop ends behind a checkpoint, and continues to the same weights."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.trainers.engine.material import settings, validated
from trainers.engine.interrupts import stop_requests
from trainers.engine.run import train
from trainers.engine.trainer import Trainer
from trainers.train import main


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_training_behind_a_checkpoint(
    models: dict[str, Path],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    values = settings(tmp_path / "out", models, run, checkpoints={"every": 4, "keep": 2})
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(values))
    step = Trainer.step

    def stopped(self: Trainer, number_of_step: int) -> dict[str, float]:
        if number_of_step == 1:
            os.kill(os.getpid(), number)
        return step(self, number_of_step)

    monkeypatch.setattr(Trainer, "step", stopped)
    before = signal.getsignal(number)
    assert main([str(path)]) == 128 + number
    assert signal.getsignal(number) is before
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"stopped by {number.name} after step 2 of 4; its checkpoint is in {tmp_path}/out, and the "
        "same command continues"
    )
    assert [one.name for one in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-000002"]
    monkeypatch.setattr(Trainer, "step", step)
    assert main([str(path)]) == 0
    train(validated(values | {"out": str(tmp_path / "whole")}))
    kept = [
        load_file(tmp_path / out / "final" / "adapter_model.safetensors")
        for out in ("out", "whole")
    ]
    assert all(torch.equal(kept[0][name], each) for name, each in kept[1].items())
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


def test_a_second_signal_is_not_waited_with() -> None:
    with stop_requests() as request:
        assert request.by is None
        os.kill(os.getpid(), signal.SIGINT)
        assert request.by is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
