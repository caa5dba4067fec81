"""One conformance suite for every kind of snapshot, then what is hostile to each."""

import os
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from pi_extractors.base import ExtractionError, Snapshot
from pi_extractors.snapshot import (
    ArchiveSnapshot,
    DirectorySnapshot,
    GitSnapshot,
    Limits,
    MemorySnapshot,
)
from pi_extractors.snapshot_files import Listing, unusable
from tests.pi_extractors.trees import commit_tree, git, tar_of, write_tree

FILES = {
    "b.py": b"import a\n",
    "a/__init__.py": b"",
    "a-b.py": b"x = 1\r\n",
    "a/latin.py": "# -*- coding: latin-1 -*-\nx = '\xe9'\n".encode("latin-1"),
    "a/é file.txt": b"no newline at the end",
    "a/data.bin": bytes(range(256)),
}

Make = Callable[[Path, dict[str, bytes]], Snapshot]


def _work_tree(root: Path, files: dict[str, bytes]) -> Snapshot:
    return GitSnapshot(root, commit_tree(root, files))


def _bare(root: Path, files: dict[str, bytes]) -> Snapshot:
    commit = commit_tree(root / "work", files)
    git(root, "clone", "-q", "--bare", "work", "bare.git")
    return GitSnapshot(root / "bare.git", commit)


def _archive(root: Path, files: dict[str, bytes]) -> Snapshot:
    path = root / "pkg-1.0.tar.gz"
    path.write_bytes(tar_of({f"pkg-1.0/{name}": data for name, data in files.items()}).read())
    return ArchiveSnapshot(path)


def _container(root: Path, files: dict[str, bytes]) -> Snapshot:
    names = {f"testbed/{name}": data for name, data in reversed(files.items())}
    return ArchiveSnapshot(tar_of(names, mode="w"))


KINDS: dict[str, Make] = {
    "directory": lambda root, files: DirectorySnapshot(write_tree(root, files)),
    "git work tree": _work_tree,
    "git bare": _bare,
    "sdist": _archive,
    "container": _container,
    "memory": lambda root, files: MemorySnapshot(files),
}


@pytest.fixture(params=list(KINDS))
def make(request: pytest.FixtureRequest) -> Make:
    return KINDS[request.param]


def test_files_are_git_blobs_in_path_order(make: Make, tmp_path: Path) -> None:
    snapshot = make(tmp_path, FILES)

    assert list(snapshot.files) == sorted(FILES)
    for path, content in FILES.items():
        assert snapshot.files[path] == git(tmp_path, "hash-object", "--stdin", stdin=content)
        assert snapshot.read(path) == content
    assert not [one for one in snapshot.skipped if one.path != ".git"]


def test_identity_is_of_paths_and_contents_alone(make: Make, tmp_path: Path) -> None:
    snapshot = make(tmp_path, FILES)
    assert snapshot.identity == MemorySnapshot(FILES).identity
    for other in (
        FILES | {"b.py": b"import b\n"},
        {("c.py" if path == "b.py" else path): data for path, data in FILES.items()},
        {path: data for path, data in FILES.items() if path != "b.py"},
    ):
        assert MemorySnapshot(other).identity != snapshot.identity


def test_other_paths_are_not_read(make: Make, tmp_path: Path) -> None:
    snapshot = make(tmp_path, FILES)
    for path in ("nothing.py", "a", "", "../b.py", "/etc/passwd", "a/../b.py"):
        with pytest.raises(ExtractionError, match="not a file of the snapshot"):
            snapshot.read(path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../x", "outside"),
        ("a/../../x", "outside"),
        ("/x", "outside"),
        ("a//x", "outside"),
        ("", "outside"),
        ("a/.GIT/config", "git's own"),
        ("a\nb.py", "control"),
        ("a\udce9.py", "UTF-8"),
        ("d/" * 70 + "x", "64 folders"),
        ("x" * 2000, "1024 characters"),
    ],
)
def test_unusable_names(path: str, reason: str) -> None:
    assert reason in (unusable(path) or "")
    with pytest.raises(ExtractionError, match=reason):
        MemorySnapshot({path: b""})


def test_limits_leave_out_with_a_reason() -> None:
    listing = Listing(Limits(files=2, file_bytes=10, total_bytes=15))
    assert listing.admit("big.py", 11) is False
    assert listing.admit("a.py", 10)
    assert listing.admit("b.py", 6) is False
    assert listing.full
    assert [(one.path, one.reason) for one in listing.skipped()] == [
        ("b.py", "over 15 bytes in all: this and all that follows"),
        ("big.py", "11 bytes, over 10"),
    ]


def test_endless_names_end() -> None:
    listing = Listing(Limits(files=10))
    for number in range(21):
        assert not listing.full
        listing.skip(f"link{number}", "symbolic link")
    assert listing.full


def test_a_folder_without_links_pipes_loops_and_git(tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text("password = 1\n")
    root = write_tree(tmp_path / "root", {"a.py": b"1\n", ".git/config": b"x", "d/b.py": b"2\n"})
    (root / "link.py").symlink_to(secret)
    (root / "d" / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    os.mkfifo(root / "pipe.py")
    (root / os.fsdecode(b"caf\xe9.py")).write_bytes(b"")
    (root / "huge.py").write_bytes(b"x" * 101)

    snapshot = DirectorySnapshot(root, Limits(file_bytes=100))

    assert list(snapshot.files) == ["a.py", "d/b.py"]
    assert {one.path: one.reason for one in snapshot.skipped} == {
        ".git": "git's own data",
        "caf\\udce9.py": "name is not UTF-8",
        "d/loop": "symbolic link",
        "huge.py": "101 bytes, over 100",
        "link.py": "symbolic link",
        "pipe.py": "named pipe",
        "self": "symbolic link",
    }


def test_a_file_that_changes_or_becomes_a_link_is_refused(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"a.py": b"1\n", "b.py": b"2\n", "c.py": b"3\n"})
    snapshot = DirectorySnapshot(root)
    assert len(snapshot.files) == 3
    (root / "a.py").write_bytes(b"9\n")
    (root / "b.py").rename(tmp_path / "same content")
    (root / "b.py").symlink_to(tmp_path / "same content")
    (root / "c.py").unlink()
    os.mkfifo(root / "c.py")

    with pytest.raises(ExtractionError, match=r"a\.py: changed"):
        snapshot.read("a.py")
    for path in ("b.py", "c.py"):
        with pytest.raises(ExtractionError, match=path):
            snapshot.read(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match="nowhere"):
        _ = DirectorySnapshot(tmp_path / "nowhere").files


def test_only_the_commit_is_seen(tmp_path: Path) -> None:
    base = commit_tree(tmp_path, {"a.py": b"bug\n"})
    later = commit_tree(tmp_path, {"a.py": b"fix\n", "test_a.py": b""})
    (tmp_path / "a.py").write_bytes(b"not committed\n")

    assert GitSnapshot(tmp_path, base).read("a.py") == b"bug\n"
    assert list(GitSnapshot(tmp_path, base).files) == ["a.py"]
    assert list(GitSnapshot(tmp_path, later).files) == ["a.py", "test_a.py"]


def test_links_and_submodules_of_a_commit_are_skipped(tmp_path: Path) -> None:
    commit = commit_tree(tmp_path, {"a.py": b"1\n"})
    (tmp_path / "link").symlink_to("/etc/passwd")
    git(tmp_path, "add", "link")
    git(tmp_path, "update-index", "--add", "--cacheinfo", f"160000,{commit},vendored")
    git(tmp_path, "commit", "-q", "-m", "more")

    snapshot = GitSnapshot(tmp_path, git(tmp_path, "rev-parse", "HEAD"))

    assert list(snapshot.files) == ["a.py"]
    assert {one.path: one.reason for one in snapshot.skipped} == {
        "link": "symbolic link",
        "vendored": "submodule",
    }


def _raw_tree(repository: Path, *entries: tuple[str, str, str]) -> str:
    """A tree object with any names at all."""
    content = b"".join(
        f"{mode} {name}\0".encode() + bytes.fromhex(target) for mode, name, target in entries
    )
    arguments = ("hash-object", "-t", "tree", "-w", "--stdin", "--literally")
    return git(repository, *arguments, stdin=content)


def test_hostile_names_of_a_tree_do_not_lead_outside(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    blob = git(tmp_path, "hash-object", "-w", "--stdin", stdin=b"evil\n")
    inner = _raw_tree(tmp_path, ("100644", "x.py", blob))
    root = _raw_tree(
        tmp_path,
        ("40000", "..", inner),
        ("40000", ".git", inner),
        ("100644", "fine.py", blob),
    )
    commit = git(tmp_path, "commit-tree", root, "-m", "hostile")

    snapshot = GitSnapshot(tmp_path, commit)

    assert list(snapshot.files) == ["fine.py"]
    assert {one.path for one in snapshot.skipped} == {"../x.py", ".git/x.py"}


def test_a_tree_that_names_billions_of_files_ends(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    target = git(tmp_path, "hash-object", "-w", "--stdin", stdin=b"x\n")
    mode = "100644"
    for _ in range(10):
        entries = [(mode, f"f{number}", target) for number in range(10)]
        target, mode = _raw_tree(tmp_path, *entries), "40000"
    commit = git(tmp_path, "commit-tree", target, "-m", "bomb")

    began = time.monotonic()
    snapshot = GitSnapshot(tmp_path, commit, Limits(files=1000))
    assert len(snapshot.files) == 1000
    assert "over 1000 files" in snapshot.skipped[-1].reason
    assert time.monotonic() - began < 60


def test_the_repository_cannot_run_commands(tmp_path: Path) -> None:
    """A partial clone that lacks a blob would fetch it by a command of its configuration."""
    root = tmp_path / "root"
    root.mkdir()
    commit = commit_tree(root, {"a.py": b"1\n"})
    blob = git(root, "rev-parse", "HEAD:a.py")
    (root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    trap.chmod(0o755)
    for key, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{trap}",
        "protocol.ext.allow": "always",
        "core.sshCommand": str(trap),
        "core.fsmonitor": str(trap),
        "core.pager": str(trap),
    }.items():
        git(root, "config", key, value)
    subprocess.run(["git", "cat-file", "-p", blob], cwd=root, capture_output=True)
    assert (tmp_path / "ran").exists(), "the trap works on plain git"
    (tmp_path / "ran").unlink()

    with pytest.raises(ExtractionError):
        GitSnapshot(root, commit).read("a.py")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("commit", ["HEAD", "main", "--help", "0" * 39, "0" * 40 + "^"])
def test_a_commit_is_named_by_its_id(tmp_path: Path, commit: str) -> None:
    with pytest.raises(ExtractionError, match="hex digits"):
        GitSnapshot(tmp_path, commit)


def test_an_unknown_commit_is_named(tmp_path: Path) -> None:
    commit_tree(tmp_path, {"a.py": b"1\n"})
    with pytest.raises(ExtractionError, match="1" * 40):
        _ = GitSnapshot(tmp_path, "1" * 40).files
    with pytest.raises(ExtractionError, match="not a git repository"):
        _ = GitSnapshot(tmp_path / "nowhere", "1" * 40).files


def test_reads_go_on_after_close(tmp_path: Path) -> None:
    snapshot = GitSnapshot(tmp_path, commit_tree(tmp_path, {"a.py": b"1\n"}))
    assert snapshot.read("a.py") == b"1\n"
    snapshot.close()
    assert snapshot.read("a.py") == b"1\n"
    snapshot.close()


def _member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def test_hostile_members_are_left_out() -> None:
    archive = tar_of(
        {"p/a.py": b"1\n", "p/../../evil.py": b"2\n", "p/.git/config": b"3\n"},
        _member("p/link.py", tarfile.SYMTYPE, "/etc/passwd"),
        _member("p/hard.py", tarfile.LNKTYPE, "/etc/passwd"),
        _member("p/device", tarfile.CHRTYPE),
        _member("../outside", tarfile.REGTYPE),
        _member("/etc/absolute", tarfile.REGTYPE),
    )
    snapshot = ArchiveSnapshot(archive)

    assert list(snapshot.files) == ["a.py"]
    assert {one.path: one.reason for one in snapshot.skipped} == {
        "../../evil.py": "name leads outside the repository",
        "../outside": "name leads outside the repository",
        ".git/config": "git's own data",
        "/etc/absolute": "name leads outside the repository",
        "device": "no regular file",
        "hard.py": "no regular file",
        "link.py": "symbolic link",
    }


def test_archives_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match="one top folder expected, found a and b"):
        ArchiveSnapshot(tar_of({"a/x.py": b"", "b/y.py": b""}))
    for content in (b"", b"junk" * 1000, tar_of({"a/x": Random(0).randbytes(9999)}).read()[:5000]):
        path = tmp_path / "x.tar.gz"
        path.write_bytes(content)
        with pytest.raises(ExtractionError, match=r"x\.tar\.gz: no readable tar archive"):
            ArchiveSnapshot(path)


def test_a_compressed_bomb_ends_at_the_limit() -> None:
    archive = tar_of({f"p/{number}": bytes(1_000_000) for number in range(30)})
    snapshot = ArchiveSnapshot(archive, Limits(total_bytes=5_000_000))
    assert len(snapshot.files) == 5
