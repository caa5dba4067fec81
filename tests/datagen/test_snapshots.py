"""Where an instance's snapshot comes from."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from harness.datagen import snapshots_release
from harness.datagen.snapshots import NoSnapshotError, Snapshots
from harness.environments.package_index import PackageIndexError
from harness.environments.recipe import Recipe, Sdist
from tests.environments.fake_sdist import FILES, archive, instance, put_in_cache
from tests.pi_extractors.trees import commit_tree

BASE = b"def answer():\n    return 41\n"
FIXED = b"def answer():\n    return 42\n"


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if not request.node.get_closest_marker("docker"):
        monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")


def _snapshots(cache: Path, *, repos: Path | None = None, releases: bool = False) -> Snapshots:
    recipe = put_in_cache(cache)
    recipes: dict[tuple[str, str], Recipe] = {("owner/pkg", "1.0"): recipe}
    return Snapshots(repos=repos, recipes=recipes, cache=cache, releases=releases)


def test_a_local_repository_is_preferred(tmp_path: Path) -> None:
    commit = commit_tree(tmp_path / "repos" / "owner__pkg", {"pkg.py": b"from git\n"})
    commit_tree(tmp_path / "repos" / "owner__pkg", {"pkg.py": b"later\n"})
    snapshots = _snapshots(tmp_path, repos=tmp_path / "repos")
    with snapshots.open(instance(base_commit=commit)) as opened:
        assert opened.snapshot.read("pkg.py") == b"from git\n"
        assert opened.origin == "base commit, from a local repository"


def test_the_pinned_sdist_gives_the_base_commit(tmp_path: Path) -> None:
    repos = tmp_path / "repos"
    commit_tree(repos / "owner__pkg", {"pkg.py": b"has not the commit\n"})
    with _snapshots(tmp_path, repos=repos).open(instance()) as opened:
        assert opened.snapshot.read("pkg.py") == BASE
        assert b"test_new" not in opened.snapshot.read("tests/test_pkg.py")
        assert opened.origin == "base commit, from the sdist of pkg 1.0"


def test_without_any_place_each_says_why(tmp_path: Path) -> None:
    other = instance(version="9.9")
    with (
        pytest.raises(NoSnapshotError, match=r"owner__pkg-1: .*no Docker engine.*--repos"),
        _snapshots(tmp_path).open(other),
    ):
        pass
    with (
        pytest.raises(NoSnapshotError, match="no git repository of owner/pkg"),
        _snapshots(tmp_path, repos=tmp_path).open(other),
    ):
        pass


def _release(
    cache: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> tuple[dict[str, bytes], str]:
    """What the release of files gives for an instance without any other place."""
    data = archive(files, top="pkg-9.9")
    sdist = Sdist(name="pkg", version="9.9", sha256=hashlib.sha256(data).hexdigest())
    path = cache / "sdists" / f"pkg-9.9-{sdist.sha256[:16]}.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    monkeypatch.setattr(snapshots_release, "find_release", lambda project, series: sdist)
    with _snapshots(cache, releases=True).open(instance(version="9.9")) as opened:
        tree = opened.snapshot
        return {name: tree.read(name) for name in tree.files}, opened.origin


def test_a_release_after_the_fix_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, origin = _release(tmp_path, monkeypatch, FILES)
    assert files["pkg.py"] == BASE
    assert b"test_new" not in files["tests/test_pkg.py"]
    assert origin == "not the base commit: the release pkg 9.9, 2 patched files put back"


def test_a_release_before_the_fix_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, origin = _release(tmp_path, monkeypatch, {"pkg.py": BASE, "other.py": b""})
    assert files == {"pkg.py": BASE, "other.py": b""}
    assert origin == "not the base commit: the release pkg 9.9"


def test_a_gold_file_in_neither_state_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold the fix in another form."""
    later = {"pkg.py": b"def answer():\n    return 6 * 7\n", "tests/test_pkg.py": b"x = 1\n"}
    files, origin = _release(tmp_path, monkeypatch, later)
    assert files == {"tests/test_pkg.py": b"x = 1\n"}
    assert origin == "not the base commit: the release pkg 9.9, without pkg.py"


def test_releases_are_used_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unasked(project: str, series: str) -> Sdist:
        raise AssertionError("asked the index")

    monkeypatch.setattr(snapshots_release, "find_release", unasked)
    with pytest.raises(NoSnapshotError), _snapshots(tmp_path).open(instance(version="9.9")):
        pass


def test_an_index_without_the_release_is_one_more_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(project: str, series: str) -> Sdist:
        raise PackageIndexError(f"{project} {series}: none")

    monkeypatch.setattr(snapshots_release, "find_release", none)
    snapshots = _snapshots(tmp_path, releases=True)
    with (
        pytest.raises(NoSnapshotError, match=r"pkg 9\.9: none"),
        snapshots.open(instance(version="9.9")),
    ):
        pass


@pytest.mark.docker
def test_an_image_gives_its_commit_without_running(tmp_path: Path) -> None:
    """Neither the image's work tree nor its git configuration or hooks are looked at."""
    from docker import from_env

    root = tmp_path / "testbed"
    commit = commit_tree(root, {"pkg.py": b"committed\n"})
    (root / "pkg.py").write_bytes(b"changed by the build\n")
    (root / ".git" / "config").write_text("[include]\n\tpath = /dev/zero\n")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(root, "testbed")
    client = from_env()
    name = f"harness-test-snapshot-{tmp_path.name.lower().replace('_', '-')}"
    client.api.import_image_from_data(buffer.getvalue(), repository=name, tag="latest")
    containers = {one.name or "" for one in client.containers.list(all=True)}
    try:
        asked = instance(version="9.9", base_commit=commit, image=f"{name}:latest")
        with _snapshots(tmp_path).open(asked) as opened:
            assert opened.snapshot.read("pkg.py") == b"committed\n"
            assert list(opened.snapshot.files) == ["pkg.py"]
            assert opened.origin == "base commit, from the instance's image"
        names = {one.name or "" for one in client.containers.list(all=True)}
        assert not [one for one in names - containers if f".{os.getpid()}." in one]
    finally:
        client.images.remove(f"{name}:latest")
