"""A tiny teacher and three PI adapters of it."""

from pathlib import Path

import pytest

from tests.trainers.engine.material import write_model
from tests.trainers.teachers.pi_material import SOURCES, write_adapter


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frozen model."""
    return write_model(tmp_path_factory.mktemp("pi-base") / "base", 1)


@pytest.fixture(scope="session")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By source."""
    folder = tmp_path_factory.mktemp("pi-adapters")
    return {
        name: write_adapter(folder / name, base, seed, name) for seed, name in enumerate(SOURCES, 7)
    }
