"""Does a sandbox of an image reach anything?"""

import fcntl
import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from harness.environments.lint.findings import Finding, Rule
from harness.sandboxes.base import Limits, Sandbox, SandboxFailure, SandboxProvider

_SECONDS = 30.0
# Each line is `what: how it went`; only what a network would print is believed to be a finding.
_SCRIPT = """
for each in /proc/net/route /proc/net/ipv6_route; do
    while read -r line; do
        case $line in Iface*|*" lo") ;; *) echo "route: $each: $line" ;; esac
    done < $each 2>/dev/null
done
for each in /sys/class/net/*; do
    case ${each##*/} in lo|'*') ;; *) echo "interface: ${each##*/}" ;; esac
done
if command -v getent >/dev/null 2>&1; then
    timeout 5 getent hosts example.com >/dev/null 2>&1 && echo "name: example.com resolves"
fi
for each in $HARNESS_TARGETS; do
    timeout 5 bash -c 'exec 3<>"/dev/tcp/${1%:*}/${1##*:}" && echo "$2" >&3' \\
        bash "$each" "$HARNESS_TOKEN" 2>/dev/null && echo "connection: $each"
done
for each in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock; do
    [ -S $each ] && echo "socket: $each"
done
true
"""
_WHAT = {
    "route": "a route",
    "interface": "an interface",
    "name": "a name server",
    "connection": "a connection",
    "socket": "an engine's socket",
}
_PUBLIC = ("1.1.1.1:53", "8.8.8.8:53")


def probe_egress(provider: SandboxProvider, image: str) -> Iterator[Finding]:
    """Findings for every way out that a sandbox of an image has.

    The sandbox looks at its routes, interfaces and names, and dials public addresses and a
    listener on each address of this machine. What the listener gets, no image can hide.
    Raises SandboxFailure.
    """
    token = secrets.token_hex(16)
    with _listener(token) as (targets, heard):
        env = {"HARNESS_TARGETS": " ".join([*targets, *_PUBLIC]), "HARNESS_TOKEN": token}
        with provider.start(image, limits=Limits(), owner="lint") as sandbox:
            lines = _try(sandbox, env)
        for what, meaning in _WHAT.items():
            said = [line for line in lines if line.startswith(f"{what}: ")]
            if said:
                more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
                yield _finding(f"{meaning}: {said[0].partition(': ')[2][:160]}{more}")
        if heard.is_set():
            yield _finding("a listener of this machine heard the sandbox")


def _try(sandbox: Sandbox, env: dict[str, str]) -> list[str]:
    result = sandbox.exec(_SCRIPT, timeout=_SECONDS + 60, cwd="/", env=env)
    if result.exit_code != 0:
        raise SandboxFailure(f"egress cannot be tried: {result.text.strip()[-500:]}")
    return result.text.splitlines()


@contextmanager
def _listener(token: str) -> Iterator[tuple[list[str], threading.Event]]:
    """Addresses of this machine where a listener waits, and whether it heard the token."""
    heard = threading.Event()
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(2)
                    try:
                        if token.encode() in connection.recv(100):
                            heard.set()
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield [f"{address}:{port}" for address in _addresses()], heard
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _addresses() -> list[str]:
    """The addresses of this machine's interfaces but the loopback's."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sender, 0x8915, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in found if not address.startswith("127.")]


def _finding(detail: str) -> Finding:
    return Finding(
        rule=Rule.EGRESS,
        severity="error",
        path="<sandbox>",
        detail=detail,
        reproduce="cat /proc/net/route; getent hosts example.com",
    )
