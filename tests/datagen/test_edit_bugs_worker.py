import os
import signal
from pathlib import Path

import pytest

from harness.datagen import edit_bugs_worker as worker


def test_a_tree_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TREE", str(tmp_path))
    for name in ("kept", "changed", "gone", "linked"):
        (tmp_path / name).write_text(name)
    os.utime(tmp_path / "changed", (1000, 1000))
    clean = worker.files()
    contents = {path: path.read_bytes() for path in clean}
    (tmp_path / "changed").write_text("other")
    (tmp_path / "changed").chmod(0o755)
    (tmp_path / "gone").unlink()
    (tmp_path / "linked").unlink()
    (tmp_path / "linked").symlink_to("/etc/passwd")
    (tmp_path / "new" / "folder").mkdir(parents=True)
    (tmp_path / "new" / "folder" / "file").write_text("new")
    worker.put_back(clean, contents)
    assert (tmp_path / "changed").read_text() == "changed"
    assert (tmp_path / "changed").stat().st_mtime == 1000
    assert (tmp_path / "gone").read_text() == "gone"
    assert not (tmp_path / "linked").is_symlink()
    assert not (tmp_path / "new" / "folder" / "file").exists()


def test_work_that_ends_gives_its_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(worker, "TREE", str(tmp_path))
    monkeypatch.setattr(worker, "SCRATCH", str(tmp_path / "scratch"))
    found, why, _ = worker.in_fork(lambda: {"folder": os.environ["TMPDIR"]}, 5, 5)
    assert (found, why) == ({"folder": str(tmp_path / "scratch")}, "")


def test_work_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(worker, "TREE", str(tmp_path))
    monkeypatch.setattr(worker, "SCRATCH", str(tmp_path / "scratch"))

    def wait() -> dict[str, object]:
        signal.pause()
        return {}

    def end() -> dict[str, object]:
        os._exit(0)

    def spin() -> dict[str, object]:
        while True:
            pass

    assert worker.in_fork(spin, 1, 60)[:2] == (None, "hang")
    assert worker.in_fork(wait, 5, 0.1)[:2] == (None, "hang")
    assert worker.in_fork(end, 5, 5)[:2] == (None, "crash")
