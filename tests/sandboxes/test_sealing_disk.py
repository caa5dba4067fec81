"""Every kind of sandbox: no way to fill the disk of the host."""

import os
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from harness.sandboxes import disk
from harness.sandboxes import docker as docker_module
from harness.sandboxes.base import MIB, Bind, ExecResult, Limits, Sandbox, SandboxFailure
from harness.sandboxes.shell import ShellSandbox
from tests.conformance.sandbox_kinds import Kind

LIMIT = 64 * MIB
LIMITS = Limits(memory_bytes=256 * MIB, pids=64, disk_bytes=LIMIT, output_bytes=4096)
_OVERSHOOT = 4096 * MIB  # what a fast disk takes between two looks on a loaded machine


def _python(code: str) -> str:
    return f"exec python3 -c '{textwrap.dedent(code)}'"


_ATTACKS = {
    "one file": "dd if=/dev/zero of=/testbed/x bs=1M",
    "in the folder of temporary files": "dd if=/dev/zero of=/tmp/x bs=1M",
    "in the home folder": "dd if=/dev/zero of=$HOME/x bs=1M",
    "many processes": "for i in 1 2 3 4; do dd if=/dev/zero of=/tmp/$i bs=1M & done; wait",
    "empty files": _python("""
        import os
        for folder in range(10**6):
            os.mkdir(f"/tmp/{folder}")
            for file in range(1000):
                open(f"/tmp/{folder}/{file}", "w").close()
    """),
    "links": _python("""
        import os
        for number in range(10**7):
            os.symlink("x", f"/tmp/{number}")
    """),
    "a deleted file": _python("""
        import os
        file = open("/tmp/x", "wb")
        os.unlink("/tmp/x")
        while True:
            file.write(bytes(1 << 20))
    """),
    "deleted files that are only mapped": _python("""
        import mmap, os, time
        kept = []
        for _ in range(6):  # pages count as memory too, whose limit is not meant here
            with open("/tmp/x", "w+b") as file:
                file.truncate(16 << 20)
                libc_map = mmap.mmap(file.fileno(), 16 << 20)
            os.unlink("/tmp/x")
            for page in range(0, 16 << 20, 4096):
                libc_map[page] = 1
            kept.append(libc_map)
        time.sleep(600)
    """),
    "too deep to name": _python("""
        import os
        for _ in range(3000):
            os.mkdir("d"); os.chdir("d")
        for number in range(10**6):
            with open(str(number), "wb") as file:
                file.write(bytes(1 << 24))
    """),
    "a closed folder": "mkdir c; exec 3>c/x; chmod 0 c; exec cat /dev/zero >&3",
    "allocated and never written": "for i in $(seq 999); do fallocate -l 8M /tmp/$i; done; sleep 9",
}

_ONLY_ROOT_SEES = ("a closed folder", "deleted files that are only mapped")


@pytest.fixture
def small(start: Callable[..., Sandbox]) -> Sandbox:
    return start(limits=LIMITS)


def _assert_full(sandbox: Sandbox, result: ExecResult) -> None:
    assert (result.exit_code, result.timed_out) == (137, False), result.text
    assert f"limit of {LIMIT:,} bytes" in result.text
    again = sandbox.exec("echo more > /tmp/more", timeout=30)
    assert again.exit_code == 137
    with pytest.raises(FileNotFoundError):
        sandbox.read("/tmp/more")
    assert f"limit of {LIMIT:,} bytes" in again.text


@pytest.mark.parametrize("attack", _ATTACKS)
def test_the_disk_is_not_filled(sandbox: Sandbox, small: Sandbox, attack: str) -> None:
    if attack in _ONLY_ROOT_SEES and os.geteuid() != 0:
        pytest.skip("only a harness that is root sees these files")
    _assert_full(small, small.exec(_ATTACKS[attack], timeout=120))
    assert isinstance(small, ShellSandbox)
    assert small._disk_bytes() < LIMIT + _OVERSHOOT
    small.write("/tmp/harness", b"x" * MIB)
    assert len(small.read("/tmp/harness")) == MIB
    neighbour = sandbox.exec("dd if=/dev/zero of=/tmp/x bs=1M count=80 && echo well", timeout=60)
    assert neighbour.text.endswith("well\n")


def test_a_patch_is_taken_of_a_full_sandbox(small: Sandbox) -> None:
    commit = "git -c user.name=a -c user.email=a@b commit -qm base"
    made = small.exec(
        f"git init -q . && echo a > a.py && git add . && {commit} && git rev-parse HEAD", timeout=60
    )
    result = small.exec("echo b > a.py; dd if=/dev/zero of=/tmp/x bs=1M", timeout=60)
    _assert_full(small, result)
    assert "-a\n+b\n" in small.diff(made.text.strip())


def test_many_small_steps_count_together(small: Sandbox) -> None:
    """More of them than fit between two measurements: what others delete hides what is written."""
    for number in range(1000):
        result = small.exec(f"head -c 2000000 /dev/zero > /tmp/{number}", timeout=60)
        if result.exit_code:
            break
    _assert_full(small, result)


def test_what_runs_on_in_the_background_is_watched(small: Sandbox, kind: Kind) -> None:
    small.exec("(sleep 2; exec dd if=/dev/zero of=/tmp/x bs=1M) >/dev/null 2>&1 &", timeout=60)
    if kind.state is None:  # the other kind ends it with the command
        assert isinstance(small, ShellSandbox)
        deadline = time.monotonic() + 20
        while not small._disk.over and time.monotonic() < deadline:
            time.sleep(0.1)
        assert small._disk.over
        _assert_full(small, small.exec("true", timeout=60))


def test_holes_and_what_was_deleted_do_not_count(small: Sandbox) -> None:
    result = small.exec(
        "truncate -s 2G hole;"
        " for i in $(seq 6); do head -c 20M /dev/zero > x; sleep 0.3; rm x; done; echo well",
        timeout=60,
    )
    assert result.text == "well\n"


def test_a_writable_bind_counts(start: Callable[..., Sandbox], tmp_path: Path) -> None:
    (tmp_path / "bound").mkdir()
    bind = Bind(source=str(tmp_path / "bound"), target="/opt/bound", writable=True)
    sandbox = start(bind, limits=LIMITS)
    _assert_full(sandbox, sandbox.exec("dd if=/dev/zero of=/opt/bound/x bs=1M", timeout=60))


@pytest.mark.docker
def test_a_volume_that_the_image_asks_for_counts(kind: Kind) -> None:
    if kind.state is not None:
        pytest.skip("its images have no volumes")
    engine = docker.from_env()
    container = engine.containers.create(kind.image, "true")
    image = container.commit(changes="VOLUME /data")
    container.remove()
    try:
        with kind.provider.start(str(image.id), limits=LIMITS, owner=kind.owner) as sandbox:
            _assert_full(sandbox, sandbox.exec("dd if=/dev/zero of=/data/x bs=1M", timeout=60))
            (mount,) = engine.containers.get(kind.left(kind.owner)[0]).attrs["Mounts"]
            assert engine.volumes.get(mount["Name"])
        with pytest.raises(docker.errors.NotFound):
            engine.volumes.get(mount["Name"])
    finally:
        engine.images.remove(str(image.id))


def test_files_of_the_engine_are_not_written(small: Sandbox) -> None:
    for path in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
        result = small.exec(f"echo x >> {path}", timeout=30)
        assert result.exit_code != 0, path


@pytest.mark.docker
@pytest.mark.parametrize("attack", ["one file", "many processes", "too deep to name"])
def test_an_engine_elsewhere_is_asked(
    attack: str, kind: Kind, start: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind.state is not None:
        pytest.skip("it has no engine")
    monkeypatch.setattr(docker_module, "_local", lambda _: None)
    sandbox = start(limits=LIMITS)
    _assert_full(sandbox, sandbox.exec(_ATTACKS[attack], timeout=120))


@pytest.mark.docker
def test_what_the_first_process_writes_is_kept_nowhere(kind: Kind, sandbox: Sandbox) -> None:
    if kind.state is not None:
        pytest.skip("it has no engine")
    sandbox.exec("echo to the log > /proc/1/fd/1", timeout=30)
    container = docker.from_env().containers.get(kind.left(kind.owner)[0])
    assert container.attrs["LogPath"] == ""


def test_a_full_disk_is_a_failure(
    start: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = start()
    monkeypatch.setattr(disk, "_RESERVE_BYTES", 1 << 60)
    with pytest.raises(SandboxFailure, match="is full"):
        sandbox.exec("sleep 60", timeout=60)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def test_a_tree_is_measured_by_blocks_and_inodes(tree: Path) -> None:
    empty = disk.tree_bytes([tree])
    (tree / "hole").touch()
    os.truncate(tree / "hole", 1 << 30)
    assert disk.tree_bytes([tree]) == empty + disk.INODE_BYTES
    (tree / "data").write_bytes(b"x" * MIB)
    assert disk.tree_bytes([tree]) - empty >= MIB + 2 * disk.INODE_BYTES
    (tree / "again").hardlink_to(tree / "data")
    assert disk.tree_bytes([tree]) - empty < 2 * MIB
    assert disk.tree_bytes([tree, tree]) < 3 * MIB


def test_a_tree_without_end_is_over_any_limit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_WALK_SECONDS", 0)
    assert disk.tree_bytes([tree]) > 1 << 60


def test_deleted_files_are_measured(tree: Path) -> None:
    file = (tree / "file").open("wb")
    with file:
        file.write(b"x" * MIB)
        file.flush()
        before = disk.deleted_bytes([os.getpid()])
        (tree / "file").unlink()
        assert disk.deleted_bytes([os.getpid()]) - before == MIB
        memory = os.memfd_create("memory")
        os.write(memory, b"x" * MIB)
        assert disk.deleted_bytes([os.getpid()]) - before == MIB
        os.close(memory)
