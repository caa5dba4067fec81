"""A real Ray cluster of two nodes on this machine."""

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_STORE_BYTES = 80 * 2**20


class RayCluster:
    """A head and a second node, each with one CPU; `address` is the head's."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # A short path, for sockets are below it.
        self._files = tempfile.mkdtemp(prefix="ray-")
        node: dict[str, Any] = {
            "num_cpus": 1,
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "temp_dir": self._files,
        }
        self._cluster = Cluster(initialize_head=True, head_node_args=node)
        self._node = node
        self._second: Any = self._cluster.add_node(**node)
        self.address: str = self._cluster.address

    def busy(self, task: str) -> dict[str, int]:
        """The processes that work on a task of a name, by node."""
        nodes = {"head": self._cluster.head_node, "second": self._second}
        found = {}
        for name, node in nodes.items():
            for pid in _children(_raylet(node)) if node else ():
                if _title(pid) == f"ray::{task}":
                    found[name] = pid
        return found

    def kill(self, pids: Iterable[int]) -> None:
        """Kill worker processes."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_second(self) -> None:
        """Kill the second node's raylet and all that it started, as a power cut would."""
        raylet = _raylet(self._second)
        self.kill((raylet, *_children(raylet)))
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    def restore(self) -> None:
        """Have a second node again."""
        if self._second is None:
            self._second = self._cluster.add_node(**self._node)

    def close(self) -> None:
        """End all of it."""
        self._cluster.shutdown()
        shutil.rmtree(self._files)


@contextmanager
def ray_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    """A cluster that `RAY_ADDRESS` names, with this process connected to it.

    The test is skipped where Ray is not installed.
    """
    # Nobody else may run code in it. Ray reads this when it is imported.
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    cluster = RayCluster()
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    try:
        ray.init(log_to_driver=False, logging_level="ERROR")
        yield cluster
    finally:
        ray.shutdown()
        cluster.close()


def _raylet(node: Any) -> int:
    pid: int = node.all_processes["raylet"][0].process.pid
    return pid


def _children(parent: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""
