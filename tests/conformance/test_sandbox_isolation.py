"""Every kind of sandbox: what it cannot see or reach, and what a crash leaves behind."""

import os
import socket
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.sandboxes.base import ExecResult, Sandbox
from tests.conformance.sandbox_kinds import Kind

Run = Callable[..., ExecResult]

_CONNECT = textwrap.dedent("""
    import socket, sys
    for target in sys.argv[1:]:
        kind, _, rest = target.partition(":")
        try:
            if kind == "unix":
                socket.socket(socket.AF_UNIX).connect(chr(0) + rest)
            else:
                host, _, port = rest.rpartition(":")
                socket.create_connection((host, int(port)), timeout=3)
        except OSError as error:
            print("no")
        else:
            print("CONNECTED", target)
""")


@pytest.fixture
def listening() -> Iterator[list[str]]:
    """What a network or a shared namespace would let a sandbox connect to."""
    name = f"harness-test-{uuid.uuid4().hex}"
    with socket.create_server(("0.0.0.0", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0{name}")
        unix.listen()
        port = tcp.getsockname()[1]
        addresses = {"127.0.0.1", *_own_addresses()}
        yield [f"unix:{name}", *(f"tcp:{address}:{port}" for address in sorted(addresses))]


def test_no_network(run: Run, listening: list[str]) -> None:
    for target in listening:  # they do listen
        kind, _, rest = target.partition(":")
        with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as client:
            host, _, port = rest.rpartition(":")
            client.connect(f"\0{rest}" if kind == "unix" else (host, int(port)))
    targets = [
        *listening,
        "tcp:1.1.1.1:53",
        "tcp:[2606:4700:4700::1111]:53",
        "tcp:example.org:80",
    ]
    result = run(f"python3 - {' '.join(targets)}", stdin=_CONNECT.encode())
    assert result.text == "no\n" * len(targets)
    assert len(run("cat /proc/net/route").text.splitlines()) == 1


def test_its_own_loopback_works(run: Run) -> None:
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(("localhost", server.getsockname()[1]))
server.accept()
print(socket.gethostbyname(socket.gethostname()))
"""
    assert run("python3 -", stdin=code.encode()).text == "127.0.0.1\n"


def test_files_of_the_host_are_not_seen(
    run: Run, kind: Kind, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("host") / "secret"
    secret.write_text("secret")
    paths = [secret, Path(__file__), Path("/run/docker.sock"), Path("/var/run/docker.sock")]
    paths.append(Path(os.environ.get("DOCKER_HOST", "/run/docker.sock").removeprefix("unix://")))
    paths.append(kind.state or secret)
    names = " ".join(f"'{path}'" for path in paths)
    assert run(f"for path in {names}; do test -e $path && echo $path; done; true").text == ""
    assert run("find / -xdev -type s 2>/dev/null; wc -l </proc/net/unix").text == "1\n"


def test_sandboxes_do_not_see_each_other(start: Callable[..., Sandbox], seconds: int) -> None:
    one, other = start(), start()
    seen: list[bytes] = []

    def look(chunk: bytes) -> bool:
        processes = other.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", timeout=30).text
        assert f"sleep {seconds}" not in processes
        files = other.exec("ls /tmp /testbed ~ /dev/shm", timeout=30).text
        assert "mine" not in files
        seen.append(chunk)
        return True

    one.exec(
        f"for d in /tmp /testbed ~ /dev/shm; do echo x > $d/mine; done; echo; sleep {seconds}",
        timeout=60,
        on_output=look,
    )
    assert seen


def test_processes_of_the_host_are_not_seen(run: Run) -> None:
    assert str(os.getpid()) not in run("echo /proc/[0-9]*").text.replace("/proc/", "").split()
    assert run(f"kill -0 {os.getpid()}").exit_code != 0


def test_no_device_to_harm_the_host(run: Run) -> None:
    devices = run("find /dev -type b; find /dev -type c").text.split()
    harmless = {"full", "null", "ptmx", "pts/ptmx", "random", "tty", "urandom", "zero"}
    assert {device.removeprefix("/dev/") for device in devices} <= harmless


def test_cleanup_after_a_crash_removes_exactly_what_it_left(
    kind: Kind, start: Callable[..., Sandbox], seconds: int, running: Callable[[int], int]
) -> None:
    living = start()
    living.write("/tmp/kept", b"kept")
    if kind.state:
        provider = f"process.ProcessProvider(Path({str(kind.state)!r}))"
    else:
        provider = "docker.DockerProvider()"
    crashing = textwrap.dedent(f"""
        from pathlib import Path
        from harness.sandboxes import docker, process
        from tests.conformance.conftest import LIMITS

        sandbox = {provider}.start({kind.image!r}, limits=LIMITS, owner={kind.owner!r})
        sandbox.exec(
            "setsid -f sleep {seconds}; echo; sleep {seconds}",
            timeout=600,
            on_output=lambda _: print("running", flush=True) or False,
        )
    """)
    before = kind.left(kind.owner)
    crashed = subprocess.Popen([sys.executable, "-c", crashing], stdout=subprocess.PIPE, text=True)
    assert crashed.stdout is not None
    assert crashed.stdout.readline() == "running\n"
    assert running(seconds) > 0
    assert kind.provider.cleanup(kind.owner) == 0
    crashed.kill()
    crashed.wait()
    crashed.stdout.close()
    assert len(kind.left(kind.owner)) == len(before) + 1
    assert kind.provider.cleanup("another-owner") == 0
    assert kind.provider.cleanup(kind.owner) == 1
    assert kind.left(kind.owner) == before
    assert running(seconds) == 0
    assert kind.provider.cleanup(kind.owner) == 0
    assert living.read("/tmp/kept") == b"kept"


def _own_addresses() -> list[str]:
    output = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout
    return [address for address in output.split() if ":" not in address]
