"""The real toolchain: built from the mirrors, or taken from the cache."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.environments.errors import ImageError
from harness.environments.toolchain import Toolchain, ensure_toolchain, recipe_root
from harness.environments.toolchain_build import run_recipe
from harness.environments.toolchain_tree import LOCK
from harness.environments.toolchain_verify import verify_toolchain

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return ensure_toolchain(print)


def test_it_imports_openhands_in_a_process_sandbox(
    toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///none")
    report = verify_toolchain(toolchain, on_progress=print)
    process = next(check for check in report.checks if check.where == "process sandbox")
    assert report.ok, report
    assert process.seconds is not None, process.detail


def test_wrappers_work_from_any_place(toolchain: Toolchain) -> None:
    for folder, name in (("bin", "./python"), ("/", f"{toolchain.root}/bin/python")):
        said = subprocess.run(
            [name, "-c", "import sys; print(sys.prefix, sys.flags.isolated)"],
            cwd=toolchain.root / folder,
            env={"PYTHONHOME": "/none", "LD_PRELOAD": "/none.so", "LD_LIBRARY_PATH": "/none"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert said.split() == [str(toolchain.root), "1"]
    tmux = subprocess.run([toolchain.root / "path/tmux", "-V"], capture_output=True, text=True)
    assert tmux.stdout.startswith("tmux 3")


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    recipe = shutil.copytree(recipe_root(), tmp_path / "recipe")
    lock = (recipe / LOCK).read_text()
    name = "openhands-sdk"
    changed = re.sub(rf"(?m)^({name}==.*sha256:)\w+$", r"\g<1>" + "0" * 64, lock)
    assert changed != lock
    (recipe / LOCK).write_text(changed)
    with pytest.raises(ImageError, match=rf"(?s){name}.*0000"):
        run_recipe(recipe, tmp_path / "tree")
