"""Repositories for tests: folders, git repositories and archives of the same files."""

import io
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

GIT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{role}_NAME": "t" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "t@example.org" for role in ("AUTHOR", "COMMITTER")},
}


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=GIT, input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


def commit_tree(root: Path, files: Mapping[str, bytes]) -> str:
    """Make `root` a work tree with a commit of the files; return its id."""
    write_tree(root, files)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "--all", "--force")
    git(root, "commit", "-q", "-m", "all")
    return git(root, "rev-parse", "HEAD")


def tar_of(files: Mapping[str, bytes], *extra: tarfile.TarInfo, mode: str = "w:gz") -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in extra:
            tar.addfile(member)
    buffer.seek(0)
    return buffer
