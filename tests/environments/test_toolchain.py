"""Where the toolchain is, what its recipe pins, and how it gets into the cache."""

import os
import re
import subprocess
import threading
from pathlib import Path

import pytest

from harness.environments import toolchain as toolchain_module
from harness.environments import toolchain_build
from harness.environments.errors import ImageError
from harness.environments.toolchain import (
    TOOLCHAIN_FOLDER,
    ToolchainMissingError,
    ensure_toolchain,
    find_toolchain,
    recipe_root,
    toolchain_bind,
    toolchain_folder,
)
from harness.environments.toolchain_build import build_env, build_toolchain
from harness.environments.toolchain_tree import LOCK, seal
from tests.environments.toolchain_bench import fill

PINNED = "1.58.0"
FILL = 'echo run >>"$RUNS"; mkdir -p "$1/bin"; cp -R "$TREE/." "$1/"'


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe that copies a small tree and counts its runs; the cache is empty."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "build.sh").write_text(FILL)
    (folder / LOCK).write_text("")
    monkeypatch.setenv("TREE", str(fill(tmp_path / "tree")))
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_TOOLCHAIN", raising=False)
    for module in (toolchain_module, toolchain_build):
        monkeypatch.setattr(module, "recipe_root", lambda: folder)
    return folder


def test_every_wheel_is_pinned_by_version_and_one_hash() -> None:
    lines = (recipe_root() / LOCK).read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+ --hash=sha256:[0-9a-f]{64}", each) for each in lines)
    for name in ("openhands-sdk", "openhands-tools", "openhands-agent-server"):
        assert any(line.startswith(f"{name}=={PINNED} ") for line in lines)


def test_a_missing_toolchain_says_how_to_build_it(recipe: Path) -> None:
    with pytest.raises(ToolchainMissingError, match=r"run `harness toolchain build`"):
        find_toolchain()


def test_a_toolchain_is_built_once(recipe: Path, tmp_path: Path) -> None:
    said: list[str] = []
    built = ensure_toolchain(said.append)
    assert said
    assert built == ensure_toolchain(said.append) == find_toolchain()
    assert built.root == toolchain_folder()
    assert built.versions["openhands-sdk"] == PINNED
    assert built.versions["python"] == "3.13.5"
    assert (tmp_path / "runs").read_text() == "run\n"


def test_another_recipe_is_another_toolchain(recipe: Path) -> None:
    first = ensure_toolchain(print)
    (recipe / LOCK).write_text("changed")
    with pytest.raises(ToolchainMissingError):
        find_toolchain()
    assert ensure_toolchain(print).root != first.root


def test_force_replaces_what_is_there(recipe: Path, tmp_path: Path) -> None:
    built = ensure_toolchain(print)
    (built.root / "bin/python").write_text("spoilt")
    build_toolchain(force=True, on_progress=print)
    assert (built.root / "bin/python").read_text() != "spoilt"
    assert sorted(path.name for path in built.root.parent.iterdir()) == [".lock", built.root.name]


def test_builds_at_once_are_one_build(recipe: Path, tmp_path: Path) -> None:
    (recipe / "build.sh").write_text(f"sleep 0.2; {FILL}")
    threads = [threading.Thread(target=ensure_toolchain, args=(print,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "runs").read_text() == "run\n"


def test_a_failed_build_leaves_nothing_and_shows_its_end(recipe: Path) -> None:
    (recipe / "build.sh").write_text(f"{FILL}; echo no route to the mirror >&2; exit 7")
    with pytest.raises(ImageError, match=r"exit 7\): no route to the mirror"):
        ensure_toolchain(print)
    assert [path.name for path in toolchain_folder().parent.iterdir()] == [".lock"]


def test_what_a_killed_build_left_is_removed(recipe: Path) -> None:
    left = toolchain_folder().parent / ".build-left" / "tree"
    left.mkdir(parents=True)
    ensure_toolchain(print)
    assert not left.exists()


def test_a_toolchain_elsewhere_can_be_named(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "elsewhere")
    digest = seal(root)
    monkeypatch.setenv("HARNESS_TOOLCHAIN", str(root))
    assert (find_toolchain().root, find_toolchain().digest) == (root, digest)


def test_a_process_sandbox_sees_the_folder_read_only(recipe: Path) -> None:
    bind = toolchain_bind(ensure_toolchain(print), "process")
    assert (bind.source, bind.target) == (str(toolchain_folder()), TOOLCHAIN_FOLDER)
    assert not bind.writable


def test_uv_asks_the_indexes_that_pip_is_told_of(tmp_path: Path) -> None:
    env = build_env(
        tmp_path,
        {
            "PIP_INDEX_URL": "https://a.invalid/simple",
            "PIP_EXTRA_INDEX_URL": "https://b.invalid/simple file:///c",
            "HARNESS_DEBIAN_MIRROR": "http://d.invalid/debian/",
        },
    )
    assert env["UV_DEFAULT_INDEX"] == "https://a.invalid/simple"
    assert env["UV_INDEX"] == "https://b.invalid/simple"
    assert env["DEBIAN_MIRROR"] == "http://d.invalid/debian"
    assert os.access(env["UV"], os.X_OK)


def test_uvs_own_settings_win(tmp_path: Path) -> None:
    environ = {"PIP_INDEX_URL": "https://a.invalid", "UV_DEFAULT_INDEX": "https://own.invalid"}
    assert "UV_DEFAULT_INDEX" not in build_env(tmp_path, environ)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"DEBIAN_KEYRING": "/none"}, "apt-get install debian-archive-keyring"),
        ({"DEBIAN_KEYRING": "/dev/null"}, "no mirror of Debian on this machine: set DEBIAN_MIRROR"),
        ({"PATH": "."}, "no apt-get: this needs Debian or Ubuntu; elsewhere see"),
    ],
)
def test_a_machine_that_cannot_build_is_told_what_helps(
    tmp_path: Path, env: dict[str, str], said: str
) -> None:
    for tool in ("bash", "dirname", "uname"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    if "PATH" not in env:
        for tool in ("apt-get", "dpkg-deb"):
            (tmp_path / tool).symlink_to("/bin/true")
    result = subprocess.run(
        ["/bin/bash", str(recipe_root() / "build.sh"), "prefix"],
        env={"PATH": str(tmp_path)} | env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert said in result.stderr
    assert not (tmp_path / "prefix").exists()
