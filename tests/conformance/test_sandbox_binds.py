"""Every kind of sandbox: what it sees of the host because it was asked to."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness.sandboxes.base import Bind, ImageMissingError, Sandbox, SandboxFailure
from tests.conformance.conftest import LIMITS
from tests.conformance.sandbox_kinds import Kind

Start = Callable[..., Sandbox]

_CLIENT = b"""
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect("/run/harness/gateway.sock")
client.sendall(b"question")
print(client.recv(100).decode())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is bound, below folders that a sandbox's user cannot enter."""
    folder = tmp_path / "bound"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("of the host\n")
    tmp_path.chmod(0o700)
    return folder


def _state(folder: Path) -> list[tuple[str, int, int, bytes]]:
    return [
        (
            str(path),
            path.lstat().st_mode,
            path.lstat().st_uid,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted([folder, *folder.rglob("*")])
    ]


@pytest.mark.parametrize("target", ["/opt/oh", "/run/harness"])
def test_a_bind_is_read(start: Start, folder: Path, target: str) -> None:
    sandbox = start(Bind(source=str(folder), target=target))
    assert sandbox.exec(f"cat {target}/sub/file", timeout=30).text == "of the host\n"
    assert sandbox.read(f"{target}/sub/file") == b"of the host\n"
    (folder / "later").write_text("later")
    assert sandbox.read(f"{target}/later") == b"later"


def test_a_file_is_bound(start: Start, folder: Path) -> None:
    sandbox = start(Bind(source=str(folder / "sub" / "file"), target="/opt/file"))
    assert sandbox.read("/opt/file") == b"of the host\n"
    assert sandbox.exec("echo x > /opt/file", timeout=30).exit_code != 0


def test_a_read_only_bind_stays_as_it_is(start: Start, folder: Path) -> None:
    before = _state(folder)
    sandbox = start(Bind(source=str(folder), target="/opt/bound"))
    for attack in (
        "echo x > /opt/bound/new",
        "echo x >> /opt/bound/sub/file",
        "rm -rf /opt/bound/sub",
        "chmod -R 777 /opt/bound",
        "chown -R $(id -u) /opt/bound",
        "touch /opt/bound/sub/file",
        "truncate -s 0 /opt/bound/sub/file",
        "mv /opt/bound/sub /opt/bound/other",
        "mv /opt/bound /opt/other",
        "ln /opt/bound/sub/file /tmp/hard && echo x > /tmp/hard",
        "mount -o remount,rw /opt/bound && echo x > /opt/bound/new",
        "mount -o remount,bind,rw /opt/bound && echo x > /opt/bound/new",
        "umount /opt/bound",
        "exec 3< /opt/bound/sub/file; echo x > /proc/self/fd/3",
    ):
        assert sandbox.exec(attack, timeout=30).exit_code != 0, attack
    with pytest.raises(OSError, match="/opt/bound/new"):
        sandbox.write("/opt/bound/new", b"x")
    assert _state(folder) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_mount_below_a_read_only_bind_is_not_written(start: Start, folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "mode=777", "none", str(inner)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nothing be mounted")
    try:
        sandbox = start(Bind(source=str(folder), target="/opt/bound"))
        assert sandbox.exec("touch /opt/bound/inner/new", timeout=30).exit_code != 0
        assert list(inner.iterdir()) == []
        sandbox.close()
    finally:
        subprocess.run(["umount", str(inner)], check=True)


def test_a_writable_bind(start: Start, folder: Path) -> None:
    sandbox = start(Bind(source=str(folder), target="/opt/bound", writable=True))
    change = "echo mine >> sub/file && mkdir new && echo x > new/file && chmod 700 new && ln -s / l"
    result = sandbox.exec(change, timeout=30, cwd="/opt/bound")
    assert (result.exit_code, result.text) == (0, "")
    sandbox.write("/opt/bound/written", b"data")
    assert (folder / "sub/file").read_text() == "of the host\nmine\n"
    sandbox.close()
    assert (folder / "new/file").read_text() == "x\n"
    assert {path.lstat().st_uid for path in (folder, *folder.rglob("*"))} == {os.getuid()}
    shutil.rmtree(folder)


@pytest.fixture
def served(folder: Path) -> Iterator[list[bytes]]:
    """A server on a Unix socket in the folder, and what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "gateway.sock"))
        (folder / "gateway.sock").chmod(0o666)
        server.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        asked.append(connection.recv(100))
                        connection.sendall(b"answer")

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("writable", [False, True])
def test_a_socket_below_a_bind(
    start: Start, folder: Path, served: list[bytes], writable: bool
) -> None:
    sandbox = start(Bind(source=str(folder), target="/run/harness", writable=writable))
    for _ in range(2):
        result = sandbox.exec("python3 -", timeout=30, stdin=_CLIENT)
        assert result.text == "answer\n"
    sandbox.exec("sleep 60", timeout=0.5)  # a kill in between
    assert sandbox.exec("python3 -", timeout=30, stdin=_CLIENT).text == "answer\n"
    assert served == [b"question"] * 3


def test_a_socket_of_the_sandbox_is_reached_from_outside(start: Start, folder: Path) -> None:
    sandbox = start(Bind(source=str(folder), target="/run/agent", writable=True))
    answers = []

    def connect(chunk: bytes) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "server.sock"))
            answers.append(client.recv(100))
        return False

    code = b"""
import socket
server = socket.socket(socket.AF_UNIX)
server.bind("/run/agent/server.sock")
server.listen()
print("ready", flush=True)
server.accept()[0].sendall(b"from inside")
"""
    result = sandbox.exec("python3 -", timeout=30, stdin=code, on_output=connect)
    assert (result.exit_code, answers) == (0, [b"from inside"])


def test_two_sandboxes_have_binds_of_their_own(start: Start, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    one, two = (
        start(Bind(source=str(tmp_path / name), target="/opt/x")) for name in ("one", "two")
    )
    assert (one.read("/opt/x/file"), two.read("/opt/x/file")) == (b"one", b"two")


def test_a_missing_source(start: Start, kind: Kind, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    before = kind.left(kind.owner)
    with pytest.raises(ImageMissingError, match=str(missing)):
        start(Bind(source=str(missing), target="/opt/x"))
    assert not missing.exists()
    assert kind.left(kind.owner) == before


def test_a_missing_volume(start: Start, kind: Kind) -> None:
    with pytest.raises(SandboxFailure, match="no-such-volume"):
        start(Bind(source="no-such-volume", target="/opt/x"))


def test_limits_are_those_of_the_sandbox(start: Start, folder: Path) -> None:
    small = LIMITS.model_copy(update={"pids": 16})
    sandbox = start(Bind(source=str(folder), target="/opt/x"), limits=small)
    result = sandbox.exec("for i in $(seq 40); do sleep 1 & done; wait", timeout=60)
    assert "Resource temporarily unavailable" in result.text
