"""Files of a worker arrive whole, and nowhere but in their folder."""

import os
from pathlib import Path

import pytest

from harness.rollouts.executors import ray_files
from harness.rollouts.executors.ray_files import FilesError, pack, unpack


def test_a_folder_arrives_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "logs" / "deep").mkdir(parents=True)
    (source / "patch.diff").write_bytes(b"\xff\0")
    (source / "logs" / "deep" / "one log").write_bytes(b"")
    target.mkdir()
    unpack(pack(source), target)
    assert pack(target) == {"patch.diff": b"\xff\0", "logs/deep/one log": b""}


def test_links_and_special_files_stay_behind(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "link").symlink_to(secret)
    (folder / "outside").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    assert pack(folder) == {}


def test_too_much_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").write_bytes(b"12345")
    (tmp_path / "two").write_bytes(b"12345")
    monkeypatch.setattr(ray_files, "MAX_BYTES", 10)
    assert len(pack(tmp_path)) == 2
    monkeypatch.setattr(ray_files, "MAX_BYTES", 9)
    with pytest.raises(FilesError, match="does not send them"):
        pack(tmp_path)
    monkeypatch.setattr(ray_files, "MAX_BYTES", 10)
    monkeypatch.setattr(ray_files, "MAX_FILES", 1)
    with pytest.raises(FilesError, match="does not send them"):
        pack(tmp_path)


@pytest.mark.parametrize("name", ["", ".", "/etc/x", "../x", "logs/../../x", "a\0b"])
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inside" / "folder"
    folder.mkdir(parents=True)
    with pytest.raises(FilesError, match="a worker sent a file named"):
        unpack({"fine": b"1", name: b"2"}, folder)
    assert list(tmp_path.rglob("*")) == [folder.parent, folder], "something was written"
