"""Docker sandboxes: what only they have."""

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from harness.sandboxes.base import MIB, Limits, SandboxFailure
from harness.sandboxes.docker import DockerProvider, DockerSandbox
from harness.sandboxes.docker_engine import ExecStream
from harness.sandboxes.host import process_token
from tests.conformance.sandbox_kinds import Kind, docker_kind

LIMITS = Limits(memory_bytes=256 * MIB, pids=64, cpus=1.5)


@pytest.fixture
def kind() -> Kind:
    return docker_kind()


@pytest.fixture
def sandbox(kind: Kind) -> Iterator[DockerSandbox]:
    sandbox = kind.provider.start(kind.image, limits=LIMITS, owner=kind.owner)
    assert isinstance(sandbox, DockerSandbox)
    with sandbox:
        yield sandbox


@pytest.mark.docker
def test_limits_reach_the_engine(kind: Kind, sandbox: DockerSandbox) -> None:
    (container,) = kind.left(kind.owner)
    host = docker.from_env().containers.get(container).attrs["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"][0] == "no-new-privileges"
    assert host["SecurityOpt"][1].startswith("seccomp={")
    assert host["LogConfig"]["Type"] == "none"
    assert (host["Memory"], host["MemorySwap"]) == (256 * MIB, 256 * MIB)
    assert host["PidsLimit"] == 64
    assert host["CpuQuota"] / host["CpuPeriod"] == 1.5
    assert host["Init"]
    assert not host["Privileged"]
    assert not host["Binds"]


@pytest.mark.docker
def test_root_in_the_container_can_do_what_tests_do(sandbox: DockerSandbox) -> None:
    result = sandbox.exec(
        "chown 1000:1000 /tmp && touch /tmp/x && chmod 600 /tmp/x && chown 1000 /tmp/x"
        " && echo y > /tmp/x && chmod 644 /tmp/x && rm /tmp/x",
        timeout=30,
    )
    assert (result.exit_code, result.text) == (0, "")


@pytest.mark.docker
def test_a_container_stopped_by_somebody_else_goes_on(kind: Kind, sandbox: DockerSandbox) -> None:
    sandbox.write("/tmp/kept", b"kept")
    docker.from_env().containers.get(kind.left(kind.owner)[0]).kill()
    assert sandbox.read("/tmp/kept") == b"kept"


@pytest.mark.docker
def test_a_container_that_ends_before_a_prepared_command_starts(
    kind: Kind, sandbox: DockerSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = sandbox._api.exec_create
    prepared: list[str] = []

    def then_kill(container: str, command: list[str], **options: Any) -> Any:
        created = prepare(container, command, **options)
        if not prepared:
            sandbox._api.kill(container)
        prepared.append(created["Id"])
        return created

    monkeypatch.setattr(sandbox._api, "exec_create", then_kill)
    assert sandbox.exec("echo done", timeout=30).text == "done\n"
    assert len(prepared) == 2


@pytest.mark.docker
def test_a_container_removed_by_somebody_else_is_a_failure(
    kind: Kind, sandbox: DockerSandbox
) -> None:
    docker.from_env().containers.get(kind.left(kind.owner)[0]).remove(force=True)
    with pytest.raises(SandboxFailure, match="No such container"):
        sandbox.exec("true", timeout=30)


@pytest.mark.docker
def test_cleanup_leaves_what_is_not_its_own(kind: Kind) -> None:
    here = f"{socket.gethostname()}:{Path('/proc/self/ns/pid').stat().st_ino}"
    others = [
        {"swe-harness.host": "elsewhere", "swe-harness.process": "1-1"},
        {"swe-harness.host": here, "swe-harness.process": process_token(os.getpid())},
        {"swe-harness.host": here},
        {},
    ]
    engine = docker.from_env().containers
    labels = {"swe-harness": "1", "swe-harness.owner": kind.owner}
    foreign = [engine.create(kind.image, "true", labels=labels | more) for more in others]
    dead = {"swe-harness.host": here, "swe-harness.process": "1-1"}
    engine.create(kind.image, "true", labels=labels | dead)
    try:
        assert kind.provider.cleanup(kind.owner) == 1
        assert sorted(kind.left(kind.owner)) == sorted(str(c.id) for c in foreign)
    finally:
        for container in foreign:
            container.remove()


def test_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(SandboxFailure, match="set DOCKER_HOST"):
        DockerProvider()


def _frame(payload: bytes) -> bytes:
    return struct.pack(">BxxxI", 1, len(payload)) + payload


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[docker.APIClient, list[bytes]]]:
    """A client of an engine that answers with prepared packets; an empty one keeps it waiting."""
    packets: list[bytes] = []
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "engine"))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                request = b""
                while not request.endswith(b"}"):
                    request += connection.recv(65536)
                for packet in packets:
                    connection.sendall(packet)
                    time.sleep(0.05)
                    if not packet:
                        done.wait(30)

        thread = threading.Thread(target=answer)
        thread.start()
        yield docker.APIClient(f"unix://{tmp_path}/engine", version="1.41"), packets
        done.set()
        thread.join()


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"


def test_output_that_comes_with_the_headers_is_not_lost(
    engine: tuple[docker.APIClient, list[bytes]],
) -> None:
    client, packets = engine
    stream = _frame(b"first") + _frame(b"") + _frame(b"second") + _frame(b"x" * 100_000)
    packets += [_HEAD + stream[:20], stream[20:30], stream[30:]]
    exec_stream = ExecStream(client, "id", b"")
    assert b"".join(exec_stream.chunks(time.monotonic() + 30)) == b"firstsecond" + b"x" * 100_000
    assert exec_stream.ended
    exec_stream.close()


def test_output_stops_at_the_deadline(engine: tuple[docker.APIClient, list[bytes]]) -> None:
    client, packets = engine
    packets += [_HEAD, _frame(b"some"), b""]
    exec_stream = ExecStream(client, "id", b"")
    assert list(exec_stream.chunks(time.monotonic() + 1)) == [b"some"]
    assert not exec_stream.ended
    exec_stream.close()


def test_an_engine_s_refusal_is_a_failure(engine: tuple[docker.APIClient, list[bytes]]) -> None:
    client, packets = engine
    packets.append(b"HTTP/1.1 500 Trouble\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(SandboxFailure, match="start a command"):
        ExecStream(client, "id", b"")
