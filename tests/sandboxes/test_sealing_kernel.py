"""Every kind of sandbox: the kernel's interfaces, tried one by one from inside."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.sandboxes.base import ExecResult, Sandbox
from tests.conformance.sandbox_kinds import Kind
from tests.sandboxes.attacks import refusals

Run = Callable[..., ExecResult]

_REFUSED = {"EPERM", "EACCES", "EROFS", "ENOENT", "ENOSYS", "ENXIO", "ETXTBSY"}

_PROC_AND_SYS = {
    "core_pattern": "open('/proc/sys/kernel/core_pattern', 'w')",
    "modprobe": "open('/proc/sys/kernel/modprobe', 'w')",
    "drop_caches": "open('/proc/sys/vm/drop_caches', 'w')",
    "panic": "open('/proc/sys/kernel/panic_on_oops', 'w')",
    "sysrq": "open('/proc/sysrq-trigger', 'w')",
    "kcore": "raise PermissionError(1, '') if not open('/proc/kcore', 'rb').read(1) else None",
    "kmsg": "open('/proc/kmsg', 'rb')",
    "irq": "open('/proc/irq/default_smp_affinity', 'w')",
    "uevent helper": "open('/sys/kernel/uevent_helper', 'w')",
    "bind a driver": "open('/sys/bus/pci/drivers_probe', 'w')",
    "power": "open('/sys/power/state', 'w')",
    "efi": "os.listdir('/sys/firmware/efi/efivars')",
    "release agent": "open('/sys/fs/cgroup/memory/release_agent', 'r+')",
    "memory limit": "open('/sys/fs/cgroup/memory/memory.limit_in_bytes', 'r+')",
    "memory limit of version 2": "open('/sys/fs/cgroup/memory.max', 'r+')",
    "own score": "os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000')",
    "memory of init's program": "open('/proc/1/exe', 'r+b')",
}
_DEVICES = {
    **{
        path: f"open('{path}', 'rb')"
        for path in (
            *("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/kvm", "/dev/fuse"),
            *("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop-control", "/dev/net/tun"),
            *("/dev/vsock", "/dev/vhost-vsock", "/dev/userfaultfd", "/dev/cuse", "/dev/uinput"),
            *("/dev/mapper/control", "/dev/btrfs-control", "/dev/autofs", "/dev/snapshot"),
        )
    },
    "a block device of its own": "os.mknod('/tmp/disk', 0o60666, os.makedev(254, 0))",
    "a character device of its own": "os.mknod('/tmp/memory', 0o20666, os.makedev(1, 1))",
    "a terminal's input": """
        import fcntl, termios
        fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), termios.TIOCSTI, b"x")
    """,
}
_CALLS = {
    "mount proc": "check(libc.mount(b'proc', b'/tmp', b'proc', 0, None))",
    "mount tmpfs": "check(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
    "bind the root": "check(libc.mount(b'/', b'/tmp', None, 4096, None))",
    "remount the root": "check(libc.mount(None, b'/', None, 32 | 4096, None))",
    "remount /proc/sys": "check(libc.mount(None, b'/proc/sys', None, 32 | 4096, None))",
    "share the root": "check(libc.mount(None, b'/', None, (1 << 20) | 16384, None))",
    "unmount": "check(libc.umount2(b'/proc', 2))",
    "the new mount interface": "call(430, 430, 0, 0)",
    "clone a tree of mounts": "call(428, 428, -100, 0, 1)",
    "chroot": "os.chroot('/tmp')",
    "pivot_root": "call(155, 41, 0, 0)",
    **{
        f"unshare {flag:#x}": f"check(libc.unshare({flag}))"
        for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
    },
    "clone with namespaces": "call(56, 220, 0x10000000 | 0x20000 | 17, 0, 0, 0, 0)",
    "clone3": "call(435, 435, 0, 0)",
    "join init's namespace": """
        check(libc.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0))
    """,
    "keyctl": "call(250, 219, 0, -3, 1)",
    "add_key": "call(248, 217, 0, 0, 0, 0, -3)",
    "request_key": "call(249, 218, 0, 0, 0, -3)",
    "bpf": "call(321, 280, 0, 0, 0)",
    "perf_event_open": "call(298, 241, 0, 0, -1, -1, 0)",
    "userfaultfd": "call(323, 282, 0)",
    "io_uring": "call(425, 425, 8, 0)",
    "kernel log": "call(103, 116, 10, 0, 0)",
    "fanotify": "call(300, 262, 0x200, 0)",
    "load a module": "call(313, 273, 0, 0, 0)",
    "kexec": "call(246, 104, 0, 0, 0, 0)",
    "reboot": "call(169, 142, 0xfee1dead, 672274793, 0, 0)",
    "swap": "call(167, 224, 0, 0)",
    "set the time": "check(libc.settimeofday(struct.pack('qq', 0, 0), None))",
    "set the host's name": "socket.sethostname('x')",
    "accounting": "check(libc.acct(b'/tmp/account'))",
    "open a file by its handle": """
        handle = ctypes.create_string_buffer(struct.pack("Ii", 8, 1) + bytes(8))
        check(libc.open_by_handle_at(os.open("/", os.O_RDONLY), handle, 0))
    """,
    "become another user": """
        try:
            os.setuid(1 if os.getuid() == 0 else 0)
        except OSError as error:  # EINVAL where it has no other user
            raise PermissionError(1, "") from error
    """,
    "real-time priority": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))",
    "a better priority": "os.setpriority(os.PRIO_PROCESS, 0, -20)",
    "a higher limit": """
        import resource
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 50, 1 << 50))
        except ValueError as error:
            raise PermissionError(1, "") from error
    """,
    "immutable files": """
        import fcntl
        fcntl.ioctl(os.open("/tmp", os.O_RDONLY), 0x40086602, struct.pack("l", 0x10))
    """,
    "ports of the machine": "call(172, 9999, 3)",
}


@pytest.mark.parametrize(
    "attacks", [_PROC_AND_SYS, _DEVICES, _CALLS], ids=["files", "dev", "calls"]
)
def test_the_kernel_refuses(sandbox: Sandbox, attacks: dict[str, str]) -> None:
    found = refusals(sandbox, attacks)
    assert found.keys() == attacks.keys()
    assert {name: said for name, said in found.items() if said not in _REFUSED} == {}


def test_the_attacks_are_real(kind: Kind, sandbox: Sandbox) -> None:
    """What is allowed is done, so that a refusal is one."""
    allowed = {
        "file": "open('/tmp/x', 'w').write('x')",
        "call": "call(39, 172)",
        "socket": "socket.socket(socket.AF_INET)",
        "thread": "import threading; t = threading.Thread(target=print); t.start(); t.join()",
        "device": "open('/dev/null', 'rb')",
    }
    assert set(refusals(sandbox, allowed).values()) == {"DONE"}
    assert refusals(sandbox, {"no": "open('/tmp/none')", "x": "1 / 0"}) == {
        "no": "ENOENT",
        "x": "ZeroDivisionError('division by zero')",
    }


_OPEN_ALL = """
def opened(top, *, deep):
    for folder, folders, files in os.walk(top):
        for path in (f"{folder}/{file}" for file in files):
            try:
                if os.stat(path).st_mode & MODE and not os.path.samestat(
                    os.stat(path), os.stat("/dev/null")
                ):
                    descriptor = os.open(path, FLAGS | os.O_NONBLOCK)
                    if FLAGS or os.read(descriptor, 1):
                        yield path
            except OSError:
                pass
        if not deep:
            break

tops = ("/proc/sys", "/proc/fs", "/proc/irq", "/proc/bus", "/proc/driver", "/proc/scsi",
        "/proc/acpi", "/proc/sysvipc", "/proc/tty", "/sys")
found = [path for top in tops for path in opened(top, deep=True)]
found += opened("/proc", deep=False)
raise OSError("found " + ",".join(found))
"""


def test_nothing_of_the_kernel_is_written(sandbox: Sandbox) -> None:
    code = _OPEN_ALL.replace("MODE", "0o222").replace("FLAGS", "os.O_WRONLY")
    assert refusals(sandbox, {"write": code}) == {"write": "found "}


def test_what_only_root_reads_is_not_read(sandbox: Sandbox) -> None:
    code = _OPEN_ALL.replace("st_mode & MODE", "st_mode & 0o777 == 0o400")
    code = code.replace("FLAGS", "os.O_RDONLY").replace(' "/sys")', ")")
    said = refusals(sandbox, {"read": code})["read"]
    assert said.startswith("found ")
    found = said.removeprefix("found ").split(",")
    own_namespace = ("/proc/sys/net/", "/proc/sys/kernel/", "/proc/sys/vm/", "/proc/sys/fs/")
    assert [path for path in found if path and not path.startswith(own_namespace)] == []


def test_rights_are_gone(run: Run, kind: Kind) -> None:
    for process in ("self", "1") if kind.state is None else ("self",):
        lines = run(f"cat /proc/{process}/status").text.splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        # CHOWN, DAC_OVERRIDE and FOWNER, for the tests' files
        allowed = 0b1011 if kind.state is None else 0
        for kept in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[kept], 16) & ~allowed == 0, kept
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_setuid_programs_give_nothing(run: Run) -> None:
    code = """
import os, subprocess, sys
found = 0
for path in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/newgrp"):
    if not os.path.exists(path) or not os.stat(path).st_mode & 0o4000:
        continue
    process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=-3, stderr=-3)
    try:
        status = open(f"/proc/{process.pid}/status").read()
        effective = status.split("CapEff:")[1].split()[0]
        users = set(status.split("Uid:")[1].split()[:4])
        found += users != {str(os.getuid())} or int(effective, 16) & ~0b1011 != 0
    except OSError:
        pass
    process.kill()
print("gained", found)
"""
    assert run("python3 -", stdin=code.encode()).text == "gained 0\n"


def test_a_root_of_its_own(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither chroot nor a descriptor that somebody left open leads to the host's files."""
    secret = tmp_path_factory.mktemp("host") / "secret"
    secret.write_text("of the host")
    up = "../" * 12
    names = [f"/proc/{pid}/{link}{secret}" for pid in ("*", "1") for link in ("root", "cwd")]
    names += [f"/proc/*/fd/*/{up}{str(secret)[1:]}", f"/{up}{str(secret)[1:]}"]
    assert run(f"cat {' '.join(names)} 2>/dev/null").text == ""
    for descriptor in range(3, 16):
        folder = f"/proc/self/fd/{descriptor}/{up}"
        assert "of the host" not in run(f"cat .{secret}", cwd=folder).text


def test_a_shell_that_leads_out(sandbox: Sandbox, tmp_path: Path) -> None:
    """The engine starts the sandbox's own shell, which may be a link to a descriptor of it."""
    mark = tmp_path / "mark"
    outside = f"{'../' * 12}{str(tmp_path)[1:]}/evil"
    (tmp_path / "evil").write_text(f"#!/bin/sh\necho out; touch {mark}\n")
    (tmp_path / "evil").chmod(0o755)
    for descriptor in (3, 6, 7, 8, 9):
        sandbox.exec(f"ln -sfn /proc/self/fd/{descriptor}/{outside} /usr/bin/sh", timeout=30)
        assert "out" not in sandbox.exec(["true"], timeout=30).text
    assert not mark.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="without root, they are one user")
def test_what_starts_a_command_is_not_debugged(kind: Kind, sandbox: Sandbox) -> None:
    if kind.state is None:
        pytest.skip("its init has the rights of its commands")
    found = refusals(
        sandbox,
        {
            "ptrace": "check(libc.ptrace(16, 1, 0, 0))",
            "memory": "open('/proc/1/mem', 'r+b')",
            "environment": "open('/proc/1/environ', 'rb').read()",
            "root": "os.listdir('/proc/1/root')",
            "descriptors": "os.listdir('/proc/1/fd')",
            "signal": "os.kill(1, 9)",
        },
    )
    assert {name: said for name, said in found.items() if said not in _REFUSED} == {}
