"""The system calls that a process sandbox refuses, as Docker's default profile does.

Without user namespaces the code in a sandbox stays without capabilities, and most of the kernel
is closed to it; the others are kernel interfaces that no test needs and that were ways out, that
no namespace divides (keyrings, the kernel's log, most kinds of sockets: vsock leads from a virtual
machine to its host), or that hold memory which no process is seen to have.
"""

import errno
import platform
import socket
import struct

_CLONE_NEWUSER = 0x10000000
# AUDIT_ARCH_…, then system call numbers by name
_MACHINES = {
    "x86_64": (
        0xC000003E,
        {"clone": 56, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272}
        | {"perf_event_open": 298, "setns": 308, "bpf": 321, "userfaultfd": 323, "socket": 41}
        | {"syslog": 103, "fanotify_init": 300, "shmget": 29, "memfd_create": 319},
    ),
    "aarch64": (
        0xC00000B7,
        {"unshare": 97, "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220}
        | {"perf_event_open": 241, "setns": 268, "bpf": 280, "userfaultfd": 282, "socket": 198}
        | {"syslog": 116, "fanotify_init": 262, "shmget": 194, "memfd_create": 279},
    ),
}
_ON_ALL_MACHINES = {"io_uring_setup": 425, "clone3": 435, "memfd_secret": 447}
# The C library falls back from clone3, whose flags a filter cannot see, to clone.
_MISSING = ("clone3", "memfd_create", "memfd_secret", "shmget")
_NEWER = 470  # unknown calls, and the second interface on x86_64
SOCKETS = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)

# Offsets in struct seccomp_data, little-endian.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def program() -> bytes:
    """The filter for this machine, as `bwrap --seccomp` takes it; nothing on an unknown one."""
    if platform.machine() not in _MACHINES:
        return b""
    architecture, numbers = _MACHINES[platform.machine()]
    numbers = numbers | _ON_ALL_MACHINES
    missing, denied = _ERROR | errno.ENOSYS, _ERROR | errno.EPERM
    code = [_step(_LOAD, _ARCHITECTURE)]
    code += [_step(_EQUAL, architecture, then=1), _step(_RETURN, missing)]
    code += [_step(_LOAD, _NUMBER), *_if(_AT_LEAST, _NEWER, missing)]
    with_flags = [numbers.pop("clone"), numbers.pop("unshare")]
    sockets = numbers.pop("socket")
    for name, number in numbers.items():
        code += _if(_EQUAL, number, missing if name in _MISSING else denied)
    for number in with_flags:
        code += [_step(_EQUAL, number, otherwise=4), _step(_LOAD, _FIRST_ARGUMENT)]
        code += [*_if(_ANY_BIT, _CLONE_NEWUSER, denied), _step(_RETURN, _ALLOW)]
    code += [_step(_EQUAL, sockets, then=1), _step(_RETURN, _ALLOW), _step(_LOAD, _FIRST_ARGUMENT)]
    for family in SOCKETS:
        code += _if(_EQUAL, family, _ALLOW)
    return b"".join([*code, _step(_RETURN, denied)])


def _if(test: int, operand: int, result: int) -> list[bytes]:
    return [_step(test, operand, otherwise=1), _step(_RETURN, result)]


def _step(code: int, operand: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("<HBBI", code, then, otherwise, operand)
