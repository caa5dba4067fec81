"""Git repositories as sources: a mirror, the tree of a commit, and the changes of its history."""

import gzip
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from harness.environments.errors import ImageError

_SECONDS = 900
_SCHEMES = ("https", "ssh", "file")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")
# Over any .gitattributes of the tree: everything is archived, byte for byte.
_ATTRIBUTES = "* -text -eol -ident -filter -working-tree-encoding -export-ignore -export-subst\n"


class Mirror(NamedTuple):
    """A bare clone in the cache, the commit that was asked for, and what the repository is."""

    path: Path
    commit: str
    name: str
    url: str


class Commit(NamedTuple):
    """A commit of a repository's history and the files that it changes."""

    id: str
    paths: tuple[str, ...]


def mirror_of(given: str, cache: Path) -> Mirror:
    """A bare clone of a folder's or URL's repository, brought up to date, with one commit of it.

    given: `@REVISION` at its end names a branch, tag or commit; HEAD otherwise. A folder's changes
    that are not committed are not seen. Raises ImageError.
    """
    place, revision = split_revision(given)
    if "://" in place and urlsplit(place).scheme not in _SCHEMES:
        raise ImageError(f"{given}: expected one of {', '.join(f'{one}://' for one in _SCHEMES)}")
    url = place if "://" in place else str(Path(place).resolve())
    name = url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    path = cache / "mirrors" / f"{sha256(url.encode()).hexdigest()[:16]}.git"
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            clone = Path(folder, "clone")
            run_git(Path(folder), "clone", "--quiet", "--bare", "--", url, str(clone))
            (clone / "info").mkdir(exist_ok=True)
            (clone / "info" / "attributes").write_text(_ATTRIBUTES)
            clone.rename(path)
    elif not _has(path, revision):
        run_git(path, "fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/heads/*")
    try:
        commit = run_git(
            path, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}"
        )
    except ImageError as error:
        raise ImageError(f"{given}: {error}") from None
    remote = url
    if "://" not in place:
        try:
            remote = run_git(Path(url), "config", "--get", "remote.origin.url").strip()
        except ImageError:
            remote = ""
    return Mirror(path, commit.strip(), name, remote)


def archive_commit(mirror: Path, commit: str, name: str, path: Path) -> None:
    """Write a commit's plain files as a `.tar.gz`: the same commit, the same bytes."""
    listed = subprocess.run(
        ["git", "-C", str(mirror), "archive", "--format=tar", f"--prefix={name}/", commit],
        env=_environment(),
        capture_output=True,
        timeout=_SECONDS,
    )
    if listed.returncode != 0:
        raise ImageError(f"{commit}: {listed.stderr.decode(errors='replace').strip()}")
    plain = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(listed.stdout)) as tar,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as out,
    ):
        for member in tar:
            if member.isfile():
                file = tarfile.TarInfo(member.name)
                file.size, file.mode = member.size, member.mode
                out.addfile(file, tar.extractfile(member))
    with path.open("wb") as stream, gzip.GzipFile("", "wb", 9, stream, mtime=0) as zipped:
        zipped.write(plain.getvalue())


def commits(mirror: Path, commit: str, most: int) -> list[Commit]:
    """The last commits before and with one, without merges, newest first."""
    text = run_git(
        mirror,
        *("log", "--no-merges", "--no-renames", "--name-only", "-z", f"-n{most}"),
        *("--format=%x01%H%x00", commit, "--"),
    )
    found = []
    for part in text.split("\x01")[1:]:
        identity, *paths = [one.strip("\n") for one in part.split("\0")]
        found.append(Commit(identity, tuple(path for path in paths if path)))
    return found


def change_of(mirror: Path, commit: Commit, paths: list[str]) -> str:
    """What a commit changes in some files, as a patch."""
    return run_git(
        mirror,
        *("diff-tree", "-p", "--no-renames", "--no-ext-diff", "--no-textconv", "--root"),
        *("--no-commit-id", commit.id, "--", *paths),
    )


def run_git(folder: Path, *arguments: str, stdin: str = "") -> str:
    """Run git without the user's and the machine's configuration. Raises ImageError."""
    try:
        result = subprocess.run(
            [shutil.which("git") or "git", *arguments],
            cwd=folder,
            env=_environment(),
            input=stdin.encode(),
            capture_output=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ImageError(f"git {arguments[0]} took over {_SECONDS} s") from None
    if result.returncode != 0:
        message = result.stderr.decode(errors="replace").strip()
        raise ImageError(f"git {arguments[0]}: {message[-1000:]}")
    return result.stdout.decode(errors="replace")


def _environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "SSH_AUTH_SOCK", "https_proxy", "HTTPS_PROXY", "GIT_SSL_CAINFO")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES),
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }


def split_revision(given: str) -> tuple[str, str]:
    """A place and a revision, HEAD where none is given."""
    place, at, revision = given.rpartition("@")
    is_user = "://" in place and not urlsplit(place).path  # as in ssh://git@host/path
    if not at or is_user or Path(given).is_dir() or not _REVISION.fullmatch(revision):
        return given, "HEAD"
    return place, revision


def _has(mirror: Path, revision: str) -> bool:
    """Whether a commit is there already; the name of a branch may have moved on."""
    if not re.fullmatch(r"[0-9a-f]{12,40}", revision):
        return False
    try:
        run_git(mirror, "cat-file", "-e", f"{revision}^{{commit}}")
    except ImageError:
        return False
    return True
