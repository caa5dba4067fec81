"""A small authored suite of one bug, and an environment to run it in without pytest."""

from pathlib import Path

import yaml

from harness.environments.recipe import Recipe
from tests.environments import fake_sdist as fake

ID = "owner__pkg-90001"
STATEMENT = "answer() is 41\n\n" + "I expected 42, as the documentation says, but got 41. " * 2

# Stands in for `pytest -rA FILES` and `pytest -rfE`: runs test functions, prints the summary.
PYTEST = """\
#!/opt/miniconda3/envs/testbed/bin/python
import glob, runpy, sys
files = sys.argv[2:] or sorted(glob.glob("tests/test_*.py"))
for file in files:
    for name, test in runpy.run_path(file).items():
        if name.startswith("test_"):
            try:
                test()
                print(f"PASSED {file}::{name}")
            except AssertionError as error:
                print(f"FAILED {file}::{name} - {error!r}")
print("9 passed")
"""
INSTALL = f"{fake.INSTALL} && cat >\"$CONDA_PREFIX/bin/pytest\" <<'EOF'\n{PYTEST}EOF\n" + (
    'chmod +x "$CONDA_PREFIX/bin/pytest"'
)


def bug(**changes: object) -> dict[str, object]:
    """The fields of the one bug."""
    return {
        "instance_id": ID,
        "repo": "owner/pkg",
        "difficulty": "<15 min fix",
        "problem_statement": STATEMENT,
        "patch": fake.PATCH,
        "test_patch": fake.TEST_PATCH,
        **changes,
    }


def suite(**changes: object) -> dict[str, object]:
    """The fields of `suite.yaml`."""
    return {
        "name": "small",
        "title": "One bug",
        "licence": "MIT",
        "source": "made for a test",
        "created_at": "2026-01-01T00:00:00Z",
        "splits": {"train": ["owner/pkg"], "test": []},
        "licences": {"owner/pkg": "MIT"},
        **changes,
    }


def write(folder: Path, *bugs: dict[str, object], **changes: object) -> Path:
    """An authored suite in `folder/small`."""
    root = folder / "small"
    root.mkdir()
    (root / "suite.yaml").write_text(yaml.safe_dump(suite(**changes)))
    for one in bugs or (bug(),):
        (root / f"{one['instance_id']}.yaml").write_text(yaml.safe_dump(one))
    return root


def recipe(cache: Path) -> Recipe:
    """The recipe of the one package, whose archive is in the cache."""
    return fake.put_in_cache(cache, install=INSTALL)
