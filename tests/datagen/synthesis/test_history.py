import subprocess
from pathlib import Path

import pytest

from harness.datagen.edit_bugs import source_files
from harness.datagen.synthesis.git import mirror_of
from harness.datagen.synthesis.history import candidate_of, reverted_commits
from harness.datagen.synthesis.sources import Source, find_source
from harness.environments.errors import ImageError
from harness.environments.source import fetch_sdist, unpack_sdist

OLD = "def clamp(v, low):\n    return v\n\n\ndef other():\n    return 1\n"
NEW = OLD.replace("    return v\n", "    if v < low:\n        return low\n    return v\n")


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit(folder: Path, files: dict[str, str], message: str = "x") -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q", "-b", "main")
    commit(
        folder, {"pkg.py": OLD, "tests/test_pkg.py": "", ".gitattributes": "tests export-ignore"}
    )
    commit(folder, {"pkg.py": NEW, "tests/test_pkg.py": "def test(): pass\n"}, "the fix")
    commit(folder, {"pkg.py": NEW.replace("return 1", "return 2")}, "without a test")
    (folder / "link").symlink_to("/etc/passwd")
    commit(folder, {"README": "end"})
    return folder


@pytest.fixture(scope="module")
def source(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Source:
    return find_source(str(repository), tmp_path_factory.mktemp("cache"))


def tree(source: Source, cache: Path, folder: Path) -> dict[str, str]:
    unpack_sdist(fetch_sdist(source.archive, cache), folder)
    return source_files(folder)


def test_a_commit_is_archived_with_all_its_plain_files(repository: Path, tmp_path: Path) -> None:
    first = find_source(str(repository), tmp_path / "one")
    again = find_source(f"{repository}@main", tmp_path / "two")
    assert first.archive == again.archive
    files = tmp_path / "files"
    assert tree(first, tmp_path / "one", files).keys() == {"pkg.py"}
    assert (files / "tests" / "test_pkg.py").exists()  # in spite of export-ignore
    assert not (files / "link").exists()
    assert first.repo == f"local/{repository.name}"


def test_a_revision_is_found_and_a_wrong_one_named(repository: Path, tmp_path: Path) -> None:
    before = git(repository, "rev-parse", "HEAD~2")
    assert find_source(f"{repository}@{before}", tmp_path).version == before[:12]
    with pytest.raises(ImageError, match="nowhere"):
        find_source(f"{repository}@nowhere", tmp_path)
    with pytest.raises(ImageError, match="expected one of https://"):
        mirror_of("ext::sh -c true://x", tmp_path)


def test_a_fix_with_a_test_is_taken_back(source: Source) -> None:
    files = {"pkg.py": NEW.replace("return 1", "return 2")}
    (one,) = reverted_commits(source, files, None)
    assert one.changed(files) == {"pkg.py": OLD.replace("return 1", "return 2")}
    assert (one.operator, one.kind, one.function) == ("commit", "reverted", "clamp")
    assert one.places == (("pkg.py", 1),)
    assert not list(reverted_commits(source, files, {("pkg.py", 7)}))


def test_what_does_not_come_off_is_left_out(source: Source) -> None:
    assert not list(reverted_commits(source, {"pkg.py": "def clamp(): pass\n"}, None))


def test_a_change_outside_of_functions_may_be_seen_by_every_test() -> None:
    one = candidate_of({"m.py": "A = 1\n" + OLD}, {"m.py": "A = 2\n" + OLD}, "k", {("m.py", 2)})
    assert one
    assert one.places == ()
    assert one.function == ""
    assert candidate_of({"m.py": OLD}, {"m.py": OLD}, "k", None) is None
