"""A tiny package with tests, and an environment of real pytest for it that needs no index."""

import importlib.util
import shutil
from pathlib import Path

import pluggy
import yaml

from harness.environments.process_images import build_environment
from harness.environments.recipe import Recipe
from tests.environments import fake_sdist

PACKAGE = """\
import os


def clamp(value, low, high):
    if value < low:
        return low
    return min(value, high)


def first(items):
    if items:
        return items[0]
    return None


def drain(items, count=0):
    left = len(items)
    while left > 0:
        left = left - len("x")
    return left


def guard(value):
    if value == 99:
        os._exit(1)
    return value and 1


def limit():
    return 10 if os else 11


def spare(value):
    return value + 1 - 1


LIMIT = limit()
"""
TESTS = """\
import unittest

import pytest
from pkg import LIMIT, clamp, drain, first, guard


@pytest.mark.parametrize("low", [1, 2])
def test_clamp_low(low):
    assert clamp(0, low, 5) == low


def test_clamp_high():
    value = clamp(9, 1, 5)
    assert value == 5, f"got {value}"


@pytest.mark.parametrize("name", ["with space", "plain"])
def test_limit(name):
    assert clamp(LIMIT, 0, 20) == LIMIT


class TestFirst(unittest.TestCase):
    def test_some(self):
        self.assertEqual(first([3, 4]), 3)

    def test_none(self):
        self.assertIsNone(first([]))

    def test_one(self):
        self.assertEqual(first([3]), 3)


def test_drain():
    assert drain([1, 2]) == 0


def test_guard():
    assert guard(5) == 1, test_guard.__name__


def test_guard_zero():
    assert guard(0) == 0


def test_skipped():
    pytest.skip()


def test_broken():
    assert first([3, 4]) == 4
"""
FILES = {
    "pkg.py": PACKAGE.encode(),
    "conftest.py": b"",
    "tests/test_pkg.py": TESTS.encode(),
}
SUITE = {
    "name": "small",
    "title": "Edits",
    "licence": "MIT",
    "source": "made for a test",
    "created_at": "2026-01-01T00:00:00Z",
    "splits": {"train": ["owner/pkg"], "test": []},
    "licences": {"owner/pkg": "MIT"},
    "seed": "s",
    "most_instances": {"train": 100, "test": 0},
    "most_failing": 1,
}
_PYTEST = """\
#!/opt/miniconda3/envs/testbed/bin/python
import sys, pytest
sys.exit(pytest.console_main())
"""


def write_suite(folder: Path, **changes: object) -> Path:
    """`folder/small/suite.yaml`."""
    root = folder / "small"
    root.mkdir()
    (root / "suite.yaml").write_text(yaml.safe_dump({**SUITE, **changes}))
    return root


def recipe(cache: Path) -> Recipe:
    """The package's recipe; its archive and environment are in the cache."""
    made = fake_sdist.put_in_cache(cache, FILES, install="true")
    environment = build_environment(made, cache, print) / "envs" / "testbed"
    (packages,) = environment.glob("lib/python3*/site-packages")
    for name in ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments"):
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.origin
        file = Path(spec.origin)
        if file.name == "__init__.py":
            shutil.copytree(file.parent, packages / name)
        else:
            shutil.copy(file, packages)
    (metadata,) = Path(pluggy.__file__).parents[1].glob("pluggy-*.dist-info")
    shutil.copytree(metadata, packages / metadata.name)
    script = environment / "bin" / "pytest"
    script.write_text(_PYTEST)
    script.chmod(0o755)
    return made
