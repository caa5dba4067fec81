"""Every kind of sandbox: no way to anything that listens, but the socket that was bound."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from harness.sandboxes.base import Bind, ExecResult, Sandbox
from tests.sandboxes.attacks import refusals

Run = Callable[..., ExecResult]

_SOCKETS = {
    "raw": "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    "raw, version 6": "socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)",
    "packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "the host of a virtual machine": "socket.socket(40, socket.SOCK_STREAM)",
    "kernel cryptography": "socket.socket(38, socket.SOCK_SEQPACKET)",
    **{f"family {number}": f"socket.socket({number}, {kind})"
       for number in (3, 4, 5, 9, 11, 15, 17, 19, 21, 23, 29, 30, 31, 34, 37, 39, 41, 43, 44, 45)
       for kind in (1, 2, 3, 5)},
    **{f"connect to {host} by {kind}": f"""
        s = socket.socket(socket.{family}, socket.{kind}); s.settimeout(3)
        s.connect(({host!r}, 53)); s.send(b"x")
       """
       for kind in ("SOCK_STREAM", "SOCK_DGRAM")
       for family, host in (
           ("AF_INET", "172.17.0.1"), ("AF_INET", "10.0.0.1"), ("AF_INET", "192.168.0.1"),
           ("AF_INET", "169.254.169.254"), ("AF_INET", "8.8.8.8"), ("AF_INET", "255.255.255.255"),
           ("AF_INET6", "2606:4700:4700::1111"), ("AF_INET6", "fe80::1"), ("AF_INET6", "ff02::1"),
       )},
    "a name": "socket.getaddrinfo('example.org', 80)",
    "a new interface": """
        import fcntl
        s = socket.socket(); request = struct.pack("16sH14s", b"lo", 0x1041, b"")
        fcntl.ioctl(s, 0x8914, request)  # promiscuous
    """,
    "a new address": """
        import fcntl
        s = socket.socket()
        fcntl.ioctl(s, 0x8916, struct.pack("16sHH4s8s", b"lo", 2, 0, bytes((10, 0, 0, 2)), b""))
    """,
    "ask the kernel for a link": """
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.bind((0, 0))
        info = struct.pack("HH", 20, 18 | 0x8000) + struct.pack("HH", 9, 1) + b"dummy" + bytes(3)
        s.send(struct.pack("IHHII", 32 + len(info), 16, 0x605, 1, 0)
               + struct.pack("BxHiII", 0, 0, 0, 0, 0) + info)
        said = s.recv(4096)
        error = -struct.unpack_from("i", said, 16)[0]
        if error:
            raise OSError(error, "refused")
    """,
}  # fmt: skip
_REFUSED = {"EPERM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"}
_REFUSED |= {"ENETUNREACH", "ENODEV", "EADDRNOTAVAIL", "EINVAL", "ENOSYS"}


def test_nothing_but_its_own_loopback(sandbox: Sandbox, run: Run) -> None:
    found = refusals(sandbox, _SOCKETS)
    assert found.keys() == _SOCKETS.keys()
    name = found.pop("a name")
    assert "name" in name or name.startswith("gaierror"), name
    assert {each: said for each, said in found.items() if said not in _REFUSED} == {}
    assert refusals(sandbox, {"loopback": "socket.create_server(('127.0.0.1', 0))"}) == {
        "loopback": "DONE"
    }
    interfaces = run("cat /proc/net/dev").text.splitlines()[2:]
    assert all(line.split(":")[0].strip() in ("lo", "sit0", "tunl0") for line in interfaces)


class _Gateway:
    """Counts who connects to a Unix socket in a folder, and to one without a path."""

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self.asked = 0
        self.folder = folder
        folder.mkdir()
        self.name = f"\0{folder}"
        for address in (str(folder / "gateway.sock"), self.name):
            server = held.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(address)
            server.listen()
            thread = threading.Thread(target=self._serve, args=[server])
            thread.start()
            held.callback(thread.join)
            held.callback(server.shutdown, socket.SHUT_RDWR)
        (folder / "gateway.sock").chmod(0o666)

    def _serve(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    self.asked += 1
                    connection.sendall(self.folder.name.encode())


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[tuple[_Gateway, _Gateway]]:
    with ExitStack() as held:
        yield _Gateway(tmp_path / "one", held), _Gateway(tmp_path / "two", held)


def test_another_attempt_s_gateway(
    start: Callable[..., Sandbox], gateways: tuple[_Gateway, _Gateway]
) -> None:
    mine, other = gateways
    # the other attempt runs, with its gateway open in its processes
    neighbour = start(Bind(source=str(other.folder), target="/run/harness"))
    sandbox = start(Bind(source=str(mine.folder), target="/run/harness"))
    attack = """
        import glob
        paths = [PATHS]
        for pattern in ("/proc/[0-9]*/root", "/proc/[0-9]*/cwd", "/proc/[0-9]*/fd/*"):
            for found in glob.glob(pattern):
                paths += [found + "/run/harness/gateway.sock", found + "/gateway.sock"]
                paths += [found + path for path in (PATHS) if path.startswith("/")]
        os.makedirs("/tmp/links", exist_ok=True)
        for number, path in enumerate(list(paths)):
            if not path.startswith(chr(0)):
                os.symlink(path, f"/tmp/links/{number}")
                paths.append(f"/tmp/links/{number}")
        for path in paths:
            try:
                client = socket.socket(socket.AF_UNIX)
                client.settimeout(5)
                client.connect(path)
                if client.recv(10) != b"one":
                    break
            except OSError:
                pass
        else:
            raise PermissionError(1, "refused")
    """
    names = [str(other.folder / "gateway.sock"), other.name]
    up = [
        f"/run/harness/{'../' * n}{rest}"
        for n, rest in itertools.product(
            range(1, 8), ("two/gateway.sock", str(other.folder / "gateway.sock")[1:])
        )
    ]
    attack = attack.replace("[PATHS]", repr(names + up)).replace("(PATHS)", repr(names + up))

    def during(_: bytes) -> bool:
        assert refusals(sandbox, {"reach": attack}) == {"reach": "EPERM"}
        return False

    connect = "import socket; s = socket.socket(1); s.connect('/run/harness/gateway.sock')"
    script = f"{connect}; print(s.recv(9).decode(), flush=True); import time; time.sleep(2)"
    assert neighbour.exec(["python3", "-c", script], timeout=60, on_output=during).text == "two\n"
    assert other.asked == 1
    assert mine.asked > 0
