"""The parts of the compose project, as files."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = ROOT / "docker" / "harness"


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """`docker-compose.yml` with its anchors resolved and its variables not."""
    data = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(data, dict)
    return data


@pytest.fixture(scope="session")
def part() -> Callable[[str], ModuleType]:
    """A script of the images as a module: they belong to no package."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, PARTS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
