"""Models and a run that the tests of the engine share."""

from pathlib import Path

import pytest

from tests.trainers.data.runs_on_disk import write_run
from tests.trainers.engine.material import write_model
from trainers.serving.shipped import file_sha256


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A student and a teacher with one tokeniser."""
    folder = tmp_path_factory.mktemp("engine-models")
    return {
        "student": write_model(folder / "student", 0),
        "teacher": write_model(folder / "teacher", 1, hidden_size=40),
    }


@pytest.fixture(scope="session")
def run(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the student is said to have sampled."""
    tokenizer = file_sha256(models["student"] / "tokenizer.json")
    return write_run(tmp_path_factory.mktemp("engine-runs") / "rollouts", tokenizer=tokenizer)
