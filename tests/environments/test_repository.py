"""The repository of an instance shows its base commit and the past, and refuses the rest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.environments.errors import ImageError
from harness.environments.repository import find_mirror, snapshot, verify
from tests.environments.upstream import Upstream, git, make_upstream


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return make_upstream(tmp_path / "upstream")


@pytest.fixture
def taken(upstream: Upstream, tmp_path: Path) -> Path:
    folder = tmp_path / "taken"
    snapshot(upstream.path, upstream.base, folder)
    return folder


def test_a_snapshot_has_the_past_of_its_commit_only(upstream: Upstream, taken: Path) -> None:
    verify(taken, upstream.base)
    assert git(taken, "log", "--all", "--format=%s").splitlines() == ["commit 2", "commit 1"]
    assert git(taken, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert git(taken, "rev-parse", "HEAD") == upstream.base
    stored = git(taken, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    assert upstream.fix not in stored


def test_a_bare_mirror_without_a_config_file_will_do(upstream: Upstream, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror.git"
    git(tmp_path, "clone", "-q", "--bare", str(upstream.path), str(mirror))
    (mirror / "config").unlink()
    snapshot(mirror, upstream.base, tmp_path / "taken")
    verify(tmp_path / "taken", upstream.base)


def test_a_missing_commit_says_how_to_update_the_mirror(upstream: Upstream, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=rf"{'e' * 40}; update it with: git -C .* fetch origin"):
        snapshot(upstream.path, "e" * 40, tmp_path / "taken")


def test_a_mirror_with_holes_is_refused(upstream: Upstream, tmp_path: Path) -> None:
    blob = git(upstream.path, "rev-parse", "v1:pkg.py")
    (upstream.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(ImageError, match="cannot be taken from"):
        snapshot(upstream.path, upstream.base, tmp_path / "taken")


def add_tag(repository: Path, upstream: Upstream) -> None:
    git(repository, "tag", "v2")


def add_remote(repository: Path, upstream: Upstream) -> None:
    git(repository, "remote", "add", "origin", str(upstream.path))


def add_future_objects(repository: Path, upstream: Upstream) -> None:
    git(repository, "fetch", "-q", "--no-tags", str(upstream.path), "new")
    (repository / ".git" / "FETCH_HEAD").unlink()


def add_reflog(repository: Path, upstream: Upstream) -> None:
    git(repository, "update-ref", "--create-reflog", "refs/heads/main", upstream.base + "^")
    git(repository, "update-ref", "--create-reflog", "refs/heads/main", upstream.base)


def borrow_objects(repository: Path, upstream: Upstream) -> None:
    alternates = repository / ".git" / "objects" / "info" / "alternates"
    alternates.parent.mkdir(exist_ok=True)
    alternates.write_text(f"{upstream.path}/.git/objects\n")


def move_head(repository: Path, upstream: Upstream) -> None:
    (repository / ".git" / "refs" / "heads" / "main").write_text(
        git(repository, "rev-parse", f"{upstream.base}^") + "\n"
    )


@pytest.mark.parametrize(
    ("leak", "found"),
    [
        (add_tag, "one branch expected, found refs/heads/main, refs/tags/v2"),
        (add_remote, "has a remote"),
        (add_future_objects, "3 objects are not part of the history"),
        (add_reflog, ".git/logs"),
        (borrow_objects, ".git/objects/info/alternates"),
        (move_head, "not the base"),
    ],
)
def test_what_could_show_the_future_is_refused(
    upstream: Upstream, taken: Path, leak: Callable[[Path, Upstream], None], found: str
) -> None:
    leak(taken, upstream)
    with pytest.raises(ImageError, match=found):
        verify(taken, upstream.base)


@pytest.mark.parametrize(
    "place",
    ["owner__name", "owner__name.git", "owner/name", "owner/name.git", "name", "owner+name/repo"],
)
def test_mirrors_are_found_under_the_usual_names(tmp_path: Path, place: str) -> None:
    mirror = tmp_path / place
    mirror.mkdir(parents=True)
    git(mirror, "init", "-q", *(["--bare"] if place.endswith(".git") else []))
    assert find_mirror(tmp_path, "owner/name") == mirror


def test_a_missing_mirror_says_what_to_clone(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    with pytest.raises(ImageError, match=r"git clone --bare https://github.com/owner/name"):
        find_mirror(tmp_path, "owner/name")
