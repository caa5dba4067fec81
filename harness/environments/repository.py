"""The repository of an instance: its base commit and what came before, and nothing later."""

import os
import shutil
import subprocess
from pathlib import Path

from harness.environments.errors import ImageError

BRANCH = "main"


def find_mirror(repos: Path, repo: str) -> Path:
    """The local git repository of `owner/name` under a folder. Raises ImageError."""
    owner, name = repo.split("/")
    shapes = [f"{owner}__{name}", f"{owner}/{name}", name, f"{owner}__{name}.git"]
    shapes += [f"{owner}/{name}.git", f"{name}.git", f"{owner}+{name}/repo"]
    for shape in shapes:
        path = repos / shape
        if (path / ".git").exists() or ((path / "objects").is_dir() and (path / "HEAD").is_file()):
            return path.resolve()
    raise ImageError(
        f"no git repository of {repo} in {repos}: expected {owner}__{name}, {owner}/{name}, {name} "
        f"(each with or without .git); make it with: "
        f"git clone --bare https://github.com/{repo} {repos / owner / name}.git"
    )


def snapshot(mirror: Path, base_commit: str, destination: Path) -> None:
    """Make `destination` a git repository with the history of a mirror up to a commit.

    It has one branch at that commit and its ancestors' objects; no work tree is checked out.
    Raises ImageError when the mirror does not have the commit or some of its history.
    """
    trusted = {"safe.directory": str(mirror), "uploadpack.allowAnySHA1InWant": "true"}
    try:
        _git(mirror, "cat-file", "-e", f"{base_commit}^{{commit}}", config=trusted)
    except subprocess.CalledProcessError:
        raise ImageError(
            f"{mirror} has no commit {base_commit}; update it with: git -C {mirror} fetch origin"
        ) from None
    destination.mkdir(parents=True, exist_ok=True)
    try:
        _git(destination, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}")
        _git(
            destination,
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-head-ok"),
            str(mirror),
            f"{base_commit}:refs/heads/{BRANCH}",
            options=("-c", "fetch.unpackLimit=1", "-c", "core.logAllRefUpdates=false"),
            config=trusted,
        )
    except subprocess.CalledProcessError as error:
        raise ImageError(
            f"the history of {base_commit} cannot be taken from {mirror}: "
            f"{error.stderr.decode(errors='replace').strip()}"
        ) from None


def verify(repository: Path, base_commit: str) -> None:
    """Refuse a repository that shows more than a commit and its ancestors.

    Raises ImageError naming the first of: another HEAD, further refs, remotes, objects of other
    repositories, reflogs and left-over heads, objects that the commit does not reach.
    """
    folder = repository / ".git"
    head = _lines(repository, "rev-parse", "--verify", "--end-of-options", "HEAD^{commit}")
    if head != [base_commit]:
        raise ImageError(f"{repository}: HEAD is {' '.join(head)}, not the base {base_commit}")
    refs = _lines(repository, "for-each-ref", "--format=%(refname)")
    if len(refs) != 1 or not refs[0].startswith("refs/heads/"):
        raise ImageError(f"{repository}: one branch expected, found {', '.join(refs) or 'none'}")
    if _lines(repository, "remote"):
        raise ImageError(f"{repository}: has a remote")
    extra = ["objects/info/alternates", "shallow", "info/grafts", "logs", "worktrees", "modules"]
    extra += [f"{name}_HEAD" for name in ("FETCH", "ORIG", "MERGE", "CHERRY_PICK")]
    for name in extra:
        if (folder / name).exists():
            raise ImageError(f"{repository}: .git/{name} may name objects outside the history")
    reached = {
        line.split(" ", 1)[0] for line in _lines(repository, "rev-list", "--objects", base_commit)
    }
    stored = set(
        _lines(repository, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    )
    if later := stored - reached:
        raise ImageError(
            f"{repository}: {len(later)} objects are not part of the history of {base_commit}, "
            f"{min(later)} for one"
        )


def _lines(repository: Path, *arguments: str) -> list[str]:
    try:
        return _git(repository, *arguments).splitlines()
    except subprocess.CalledProcessError as error:
        raise ImageError(
            f"{repository}: git {arguments[0]}: {error.stderr.decode(errors='replace').strip()}"
        ) from None


def _git(
    folder: Path,
    *arguments: str,
    options: tuple[str, ...] = (),
    config: dict[str, str] | None = None,
) -> str:
    """Run git without the machine's own configuration; `config` also reaches its children."""
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(config or {})),
    }
    for number, (key, value) in enumerate((config or {}).items()):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    done = subprocess.run(
        [shutil.which("git") or "git", *options, "-C", str(folder), *arguments],
        env=env,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.decode(errors="replace")
