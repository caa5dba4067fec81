"""A sealed tree: its digest is its content, and whatever is changed afterwards is named."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.environments.toolchain_tree import FACTS, FILES, differences, seal
from tests.environments.toolchain_bench import fill


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = fill(tmp_path / "tree")
    seal(root)
    return root


def test_the_digest_is_of_content_not_of_place_or_time(tmp_path: Path) -> None:
    first, second = fill(tmp_path / "a"), fill(tmp_path / "b")
    os.utime(second / "bin/python", (0, 0))
    assert seal(first) == seal(second) == seal(second)
    assert seal(fill(tmp_path / "c", salt="x")) != seal(first)


def test_the_facts_name_packages_with_version_and_hash(root: Path) -> None:
    facts = json.loads((root / FACTS).read_text())
    assert {each["name"]: each["version"] for each in facts["debs"]}["libc6"] == "2.41-12"
    wheel = facts["wheels"][0]
    assert (wheel["name"], wheel["version"]) == ("openhands-sdk", "1.58.0")
    assert all(len(each["sha256"]) == 64 for each in (*facts["debs"], *facts["wheels"]))


def test_a_tree_as_it_was_sealed_has_no_differences(root: Path) -> None:
    assert differences(root) == ()


def _relink(root: Path) -> None:
    (root / "path/tmux").unlink()
    (root / "path/tmux").symlink_to("/bin/sh")


def _replace_by_link(root: Path) -> None:
    (root / "lib/python3.13/os.py").rename(root.parent / "os.py")
    (root / "lib/python3.13/os.py").symlink_to(root.parent / "os.py")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "lib/python3.13/os.py").write_text("x"), "os.py was changed"),
        (lambda root: (root / "lib/python3.13/os.py").unlink(), "lib/python3.13/os.py is missing"),
        (lambda root: (root / "lib/site.py").touch(), "lib/site.py was added"),
        (lambda root: (root / "lib/empty").mkdir(), "lib/empty was added"),
        (lambda root: (root / "bin/python").chmod(0o4755), "bin/python was changed"),
        (_relink, "path/tmux was changed"),
        (_replace_by_link, "lib/python3.13/os.py was changed"),
    ],
)
def test_a_change_is_named(root: Path, change: Callable[[Path], object], said: str) -> None:
    change(root)
    (found,) = differences(root)
    assert said in found


def test_a_list_that_was_rewritten_does_not_match_the_digest(root: Path) -> None:
    (root / "lib/python3.13/os.py").write_text("x")
    digest = json.loads((root / FACTS).read_text())["digest"]
    facts = (root / FACTS).read_text()
    assert seal(root) != digest
    (root / FACTS).write_text(facts)
    assert differences(root) == (f"{FILES} does not match the digest in {FACTS}",)


def test_a_tree_that_was_never_sealed_is_no_toolchain(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        differences(fill(tmp_path / "tree"))
