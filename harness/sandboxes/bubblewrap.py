"""What a process sandbox sees of the machine, and how a command in it loses the last rights."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath

from harness.sandboxes.base import MIB, Limits

HOME = "/home/sandbox"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TMP = "/tmp"  # noqa: S108
_SYSTEM = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_ETC = ("alternatives", "ld.so.cache", "localtime", "protocols", "services")
_ETC_NETWORK = ("ca-certificates", "pki", "resolv.conf", "ssl")
_MAX_FILE_BYTES = 4096 * MIB
_OPEN_FILES = 8192


@dataclass(frozen=True)
class User:
    """Who commands run as. A harness that is root has to give them a user of their own."""

    uid: int
    gid: int
    own: bool


def view(folder: Path, user: User, *, network: bool, shm_bytes: int) -> list[str]:
    """bwrap's options for everything but the image: the system read-only, private rest.

    `folder` is empty; it takes the files that the sandbox keeps from one command to the next.
    """
    options = ["--die-with-parent", "--new-session", "--hostname", "sandbox"]
    options += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    options += [] if network else ["--unshare-net"]
    options += ["--cap-drop", "ALL"]
    if user.own:
        for capability in ("CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"):  # for setpriv, see below
            options += ["--cap-add", capability]
    else:
        options += ["--unshare-user"]
    options += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    options += ["--size", str(shm_bytes), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    options += ["--remount-ro", "/dev", "--ro-bind", "/usr", "/usr"]
    for path in (Path("/", name) for name in _SYSTEM):
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            options += bind("--ro-bind", path, str(path))
    options += bind("--ro-bind", sys.base_prefix, sys.base_prefix)
    for packages in _packages_of_the_host():
        options += ["--perms", "0755", "--tmpfs", packages, "--remount-ro", packages]
    for name in _ETC + (_ETC_NETWORK if network else ()):
        options += bind("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for name, text in _etc(user).items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o644)
        options += bind("--ro-bind", path, f"/etc/{name}")
    for name, target in (("home", HOME), ("tmp", TMP)):
        path = folder / name
        path.mkdir()
        path.chmod(0o1777)
        options += bind("--bind", path, target)
    return options + bind("--symlink", TMP, "/var/tmp")  # noqa: S108


def _packages_of_the_host() -> list[str]:
    """Folders of packages installed on this machine: one may be a fixed version of the instance."""
    roots = [Path("/usr/lib"), Path("/usr/local/lib"), Path(sys.base_prefix, "lib")]
    patterns = ("python*/site-packages", "python*/dist-packages")
    found = {
        path.resolve() for root in roots for pattern in patterns for path in root.glob(pattern)
    }
    return sorted(str(path) for path in found if path.is_dir())


def bind(how: str, source: Path | str, target: str) -> list[str]:
    """bwrap's options for one mount; made by themselves, its parents would be closed to all."""
    parents = [str(parent) for parent in PurePosixPath(target).parents][-2::-1]
    options = [each for parent in parents for each in ("--perms", "0755", "--dir", parent)]
    return [*options, how, str(source), target]


def unprivileged(
    command: Sequence[str],
    user: User,
    limits: Limits,
    *,
    cwd: str,
    env: Mapping[str, str],
    cpu: int,
) -> list[str]:
    """The command behind everything that takes rights away.

    Until `setpriv` has run, nothing may depend on what the sandbox can write: paths are absolute,
    and the command's environment is set last. A share of a core counts as one; `cpu` is the first.
    """
    argv = ["/usr/bin/choom", "-n", "1000", "--"]
    argv += ["/usr/bin/prlimit", f"--nproc={limits.pids}", f"--nofile={_OPEN_FILES}"]
    argv += [f"--fsize={_MAX_FILE_BYTES}", "--core=0", "--"]
    if limits.cpus:
        cores = sorted(os.sched_getaffinity(0))
        chosen = {str(cores[(cpu + n) % len(cores)]) for n in range(ceil(limits.cpus))}
        argv += ["/usr/bin/taskset", "--cpu-list", ",".join(chosen)]
    if user.own:
        argv += ["/usr/bin/setpriv", f"--reuid={user.uid}", f"--regid={user.gid}"]
        argv += ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        argv += ["--"]
    argv += ["/usr/bin/env", "-i", "-C", cwd, *(f"{name}={env[name]}" for name in env)]
    return [*argv, *command]


def _etc(user: User) -> dict[str, str]:
    return {
        "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        f"sandbox:x:{user.uid}:{user.gid}::{HOME}:/bin/bash\n",
        "group": f"root:x:0:\nsandbox:x:{user.gid}:\n",
        "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
