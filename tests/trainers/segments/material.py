"""A tiny student, and rows of two trajectories."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.trainers.engine.material import write_model
from trainers.data.packing import Row, make_row
from trainers.data.trajectories import Trajectory, Turn
from trainers.engine.config import StudentSettings
from trainers.engine.networks import Network, load_student

CPU = torch.device("cpu")


def student(folder: Path, **changes: Any) -> Network:
    """A model to train, all weights unless `adapter` says otherwise."""
    path = folder / "student"
    if not path.exists():
        write_model(path, 0)
    values = {"model": str(path), "dtype": "float32", "adapter": None} | changes
    return load_student(StudentSettings.model_validate(values), CPU)


def trajectory(name: str, length: int, start: int = 3) -> Trajectory:
    """One turn of random tokens behind `start` others."""
    rng = np.random.default_rng(length)
    ids = rng.integers(0, 256, length).astype(np.int32)
    turns = (Turn(start, length, 1.0, 1.0, 1),)
    return Trajectory(name, name, "student", ids, turns, np.zeros(length, np.float32), 1)


def two() -> Row:
    """Trajectories of 20 and 13 tokens behind one another."""
    return make_row([trajectory("run/a/0#0", 20), trajectory("run/b/0#0", 13, 1)])
