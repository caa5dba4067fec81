"""What a training says: one line a step, never one twice."""

import json
from pathlib import Path

import pytest

from trainers.engine.journal import Journal

NUMBERS = {"loss": 0.5, "gradient_norm": 1.0, "learning_rate": 0.1, "tokens": 10.0}


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()]


def test_steps_after_the_checkpoint_come_again(tmp_path: Path) -> None:
    with Journal(tmp_path, start=0, steps=5) as journal:
        for step in (1, 2, 3):
            journal.step(step, NUMBERS)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    with Journal(tmp_path, start=2, steps=5) as journal:
        journal.step(3, NUMBERS)
    assert steps(tmp_path) == [1, 2, 3]


def test_what_is_left_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(tmp_path, start=0, steps=2) as journal:
        journal.step(1, NUMBERS)
    said = capsys.readouterr().err
    assert said.startswith("step 1/2  loss 0.5000  gradient 1  rate 1.00e-01")
    assert said.endswith("0 min 00 s left\n")


def test_tensorboard_reads_it(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Journal(tmp_path, start=0, steps=2) as journal:
        journal.step(1, NUMBERS)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (loss,) = events.Scalars("loss")
    assert (loss.step, loss.value) == (1, 0.5)
