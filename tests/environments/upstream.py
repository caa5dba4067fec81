"""A small upstream repository with a past, a future and everything that could leak it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SECRET = "the future holds 41 + 1"

# Its build asks the index for setuptools when isolated, and needs nothing otherwise.
_PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "backend"
backend-path = ["."]
"""
_BACKEND = """\
import pathlib, zipfile
METADATA = "Metadata-Version: 2.1\\nName: pkg\\nVersion: 1\\n"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(pathlib.Path(folder, "pkg-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("pkg.pth", str(pathlib.Path.cwd()))
        wheel.writestr("pkg-1.dist-info/METADATA", METADATA)
        wheel.writestr("pkg-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("pkg-1.dist-info/RECORD", "")
    return "pkg-1-py3-none-any.whl"
build_editable = build_wheel
"""


@dataclass(frozen=True)
class Upstream:
    """Where it is, its base commit, and the commit of the fix that comes later."""

    path: Path
    base: str
    fix: str


def git(folder: Path, *arguments: str) -> str:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_NAME": "a" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "a@b" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_DATE": "2024-01-01T00:00:00Z" for role in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def make_upstream(path: Path) -> Upstream:
    """Three commits; the second is the base, the third the fix; tags and a branch on each side."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "trunk")
    base = ""
    for number, answer in enumerate(("39", "41", f"42  # {SECRET}"), start=1):
        (path / "pyproject.toml").write_text(_PYPROJECT)
        (path / "backend.py").write_text(_BACKEND)
        (path / "pkg.py").write_text(f"ANSWER = {answer}\n")
        git(path, "add", "-A")
        git(path, "commit", "-q", "-m", f"commit {number}")
        git(path, "tag", f"v{number}")
        git(path, "tag", "-a", f"release-{number}", "-m", SECRET)
        base = git(path, "rev-parse", "HEAD") if number == 2 else base
    git(path, "branch", "old", "v1")
    git(path, "branch", "new", "v3")
    return Upstream(path, base, git(path, "rev-parse", "HEAD"))
