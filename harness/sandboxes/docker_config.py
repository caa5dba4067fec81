"""What a container may do and see: the one place where it is sealed."""

import functools
import json
from collections.abc import Sequence
from importlib.resources import files

from docker import APIClient
from docker.types import LogConfig, Mount, Ulimit

from harness.sandboxes.base import MIB, Limits
from harness.sandboxes.seccomp import SOCKETS

_MAX_FILE_BYTES = 4096 * MIB
_CPU_PERIOD = 100_000  # microseconds
_OPEN_FILES = 8192  # of a process: with the limit of processes, fewer than a kernel has
# Tests run as root on trees whose files have other owners: root owns what it needs to (CHOWN),
# and reads and changes what it does not own (DAC_OVERRIDE, FOWNER). None of these leads out.
_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
# The engine's own lists, and
# - its three files on the host, which no limit of the disk would cover;
_READ_ONLY = [
    *("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),
    *("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"),
]
# - what tells of the machine's memory, which DAC_OVERRIDE would open.
_MASKED = [
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys"),
    *("/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list"),
    *("/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"),
    *("/proc/kallsyms", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags"),
    *("/proc/mtrr", "/proc/pagetypeinfo", "/proc/slabinfo", "/proc/vmallocinfo"),
]
_ALLOW, _REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
_NO_SUCH_CALL = 38
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW…, but for time


def host_config(
    api: APIClient,
    limits: Limits,
    *,
    network: bool,
    mounts: Sequence[Mount],
    quota: bool,
) -> dict[str, object]:
    """The engine's settings for a container. `quota`: its file system enforces the disk limit."""
    config: dict[str, object] = api.create_host_config(
        mounts=list(mounts),
        init=True,
        network_mode="bridge" if network else "none",
        extra_hosts={"sandbox": "127.0.0.1"},
        cap_drop=["ALL"],
        cap_add=_CAPABILITIES,
        security_opt=["no-new-privileges", f"seccomp={_system_calls()}"],
        # What is written to the first process's output would go to a file of the host.
        log_config=LogConfig(type="none"),
        pids_limit=limits.pids,
        mem_limit=limits.memory_bytes,
        memswap_limit=limits.memory_bytes,
        cpu_period=_CPU_PERIOD if limits.cpus else None,
        cpu_quota=int(limits.cpus * _CPU_PERIOD) if limits.cpus else None,
        shm_size=limits.memory_bytes // 8,
        storage_opt={"size": str(limits.disk_bytes)} if quota else None,
        ulimits=[
            Ulimit(name=name, soft=value, hard=value)
            for name, value in (
                ("core", 0),
                ("fsize", _MAX_FILE_BYTES),
                ("nofile", _OPEN_FILES),
            )
        ],
    )
    return config | {"ReadonlyPaths": _READ_ONLY, "MaskedPaths": _MASKED}


@functools.cache
def _system_calls() -> str:
    """A seccomp profile: what needs no rights, no new namespaces, and four kinds of sockets.

    Other kinds are not divided by network namespaces (vsock leads from a virtual machine to its
    host), and `socketcall` and io_uring would make them unseen.
    """
    names = files("harness.sandboxes").joinpath("system_calls.txt").read_text().split()
    calls: list[dict[str, object]] = [{"names": names, "action": _ALLOW}]
    calls.append({"names": ["clone3"], "action": _REFUSE, "errnoRet": _NO_SUCH_CALL})
    no_namespace = {"index": 0, "value": _NEW_NAMESPACES, "op": "SCMP_CMP_MASKED_EQ"}
    calls.append({"names": ["clone"], "action": _ALLOW, "args": [no_namespace | {"valueTwo": 0}]})
    for family in SOCKETS:
        of_family = {"index": 0, "value": int(family), "op": "SCMP_CMP_EQ"}
        calls.append({"names": ["socket"], "action": _ALLOW, "args": [of_family]})
    machines = [
        {
            "architecture": "SCMP_ARCH_X86_64",
            "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        },
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
    ]
    return json.dumps({"defaultAction": _REFUSE, "archMap": machines, "syscalls": calls})
