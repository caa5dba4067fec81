"""Attempts as tasks of a Ray cluster. Ledger and run folder stay with this process."""

import ipaddress
import os
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import harness
from harness.config import ConfigError
from harness.records import Attempt, Grade
from harness.rollouts.executors import ray_worker
from harness.rollouts.executors.base import ExecutorFailure
from harness.rollouts.executors.ray_files import FilesError, unpack
from harness.rollouts.executors.ray_worker import Parcel, node_facts
from harness.rollouts.ledger import Job
from harness.rollouts.work import WorkOrder, Workshop, empty
from harness.sandboxes.base import SandboxProvider

STARTS = 2
"""Starts of an attempt whose machine is lost each time."""
_PATIENCE = 60.0  # seconds between looks whether any machine is left
_LOOKS = 5
_NODE_SECONDS = 1800.0  # for a node to make what it lacks, or to clean up


class _LostError(Exception):
    """The machines that worked on something were lost, as often as it is started."""


class RayExecutor:
    """Makes and grades attempts on the nodes of the Ray cluster that `RAY_ADDRESS` names, that
    runs on this machine, or that is started on it for the run.

    Ray itself repeats nothing: work of a lost node or worker process is started once more, and is
    an infrastructure failure when it is lost again. Raises ConfigError when there is no Ray, no
    cluster, or a node that differs from this machine in what decides results.
    """

    def __init__(self, order: WorkOrder, provider: SandboxProvider) -> None:
        self._order = order
        self._provider = provider
        self._here = Workshop(order, provider)  # records what no machine could do
        self._parcel: Sequence[Any] = ()
        self._connected = False
        self._lost = False

    def __enter__(self) -> Self:
        self._connected = _connect()
        try:
            self._prepare_nodes()
        except BaseException:
            self._disconnect()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._lost:
                self._on_every_node(ray_worker.sweep, self._order.config.sandbox)
                ray_worker.clean(self._provider)
        finally:
            self._disconnect()

    def make(self, job: Job, folder: Path) -> Attempt:
        """See `Executor.make`."""
        try:
            self._run(folder, ray_worker.make, job)
        except (_LostError, FilesError) as error:
            return self._here.give_up(job, folder, str(error), tries=_starts(error))
        (folder / "logs").mkdir(exist_ok=True)
        return Attempt.model_validate_json((folder / "attempt.json").read_bytes())

    def grade(self, job: Job, attempt: Attempt, patch: str, folder: Path) -> Grade:
        """See `Executor.grade`."""
        try:
            self._run(folder, ray_worker.grade, job, attempt, patch)
        except (_LostError, FilesError) as error:
            return self._here.refuse(job, patch, folder, str(error), tries=_starts(error))
        return Grade.model_validate_json((folder / "grade.json").read_bytes())

    def _run(self, folder: Path, work: Callable[..., dict[str, bytes]], *values: object) -> None:
        """Have a task done, and fill the folder with its files; raises what it raises."""
        from ray import exceptions

        losses = (
            exceptions.LocalRayletDiedError,
            exceptions.NodeDiedError,
            exceptions.ObjectLostError,
            exceptions.OutOfMemoryError,
            exceptions.WorkerCrashedError,
        )
        reasons: list[str] = []
        while len(reasons) < STARTS:
            try:
                task = self._task(work, scheduling_strategy="SPREAD")
                files: dict[str, bytes] = self._result(
                    task.remote(self._parcel, *values, len(reasons))
                )
            except exceptions.RayTaskError as error:
                raise error.cause from error
            except losses as error:
                self._lost = True
                reasons.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
            else:
                empty(folder)
                unpack(files, folder)
                return
        raise _LostError(f"lost on {STARTS} machines: {'; '.join(reasons)}")

    def _result(self, reference: Any) -> Any:
        import ray

        looks = 0
        while not ray.wait([reference], timeout=_PATIENCE)[0]:
            looks = 0 if self._nodes() else looks + 1
            if looks == _LOOKS:
                raise ExecutorFailure(
                    f"for {_LOOKS * _PATIENCE / 60:.0f} minutes no Ray node has had "
                    f"{self._cpus:g} CPUs: start nodes, then the same command continues"
                )
        return ray.get(reference)

    def _prepare_nodes(self) -> None:
        """See that every node can do the work before it is given any."""
        import ray

        nodes = self._nodes()
        if not nodes:
            raise ConfigError(
                f"no node of the Ray cluster has the {self._cpus:g} CPUs that an attempt takes"
            )
        self._check_endpoint([node["NodeManagerAddress"] for node in nodes])
        order = self._order
        files = {
            f"{name}/{value.name}": value.read_bytes()
            for name, value in order.agent_options.items()
            if isinstance(value, Path)
        }
        parcel = Parcel(order, files, node_facts(order, self._provider))
        self._parcel = [ray.put(parcel)]
        self._on_every_node(ray_worker.prepare, self._parcel)

    def _check_endpoint(self, addresses: Sequence[str]) -> None:
        import ray

        endpoint = self._order.endpoint
        if endpoint is None or not _is_loopback(endpoint.base_url):
            return
        here = ray.util.get_node_ip_address()
        if others := [address for address in addresses if address != here]:
            raise ConfigError(
                f"the model endpoint {endpoint.base_url} is this machine's own ({here}): the Ray "
                f"node {others[0]} cannot reach it; give an address that every node reaches"
            )

    def _on_every_node(self, work: Callable[..., None], *values: object) -> None:
        """Run a task on each node, and wait; a node that is lost meanwhile is none."""
        import ray
        from ray.exceptions import RayError, RayTaskError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        tasks = []
        for node in self._nodes():
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = self._task(work, num_cpus=0, scheduling_strategy=where)
            tasks.append(task.remote(*values))
        for reference in tasks:
            try:
                ray.get(reference, timeout=_NODE_SECONDS)
            except RayTaskError as error:
                raise error.cause from error
            except RayError:
                self._lost = True

    def _task(self, work: Callable[..., object], **options: object) -> Any:
        import ray

        given = {"max_retries": 0, "num_cpus": self._cpus, "runtime_env": _environment()}
        return ray.remote(work).options(**(given | options))

    @property
    def _cpus(self) -> float:
        """CPUs of an attempt; Ray knows no fractions above one."""
        cpus = self._order.config.limits.cpus or 1
        return ceil(cpus) if cpus > 1 else cpus

    def _nodes(self) -> list[dict[str, Any]]:
        """The living nodes that could take an attempt."""
        import ray

        return [
            node
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU", 0) >= self._cpus
        ]

    def _disconnect(self) -> None:
        import ray

        self._parcel = ()
        if self._connected:
            ray.shutdown()


def _starts(error: _LostError | FilesError) -> int:
    return STARTS if isinstance(error, _LostError) else 1


def _connect() -> bool:
    """Connect to a cluster; False when this process is connected already, and stays so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError("Ray is not installed: pip install 'swe-harness[cluster]'") from error

    if ray.is_initialized():
        return False
    where = os.environ.get("RAY_ADDRESS", "this machine")
    if where.startswith("ray://"):
        raise ConfigError(f"RAY_ADDRESS is {where}: run on a node of the cluster, with host:port")
    # What Ray has to say of dying nodes goes to standard output, where --json belongs.
    ray._private.worker._worker_logs_enabled = False
    try:
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env=_environment(),
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ConfigError(f"no Ray cluster at {where}: {error}") from error
    return True


def _environment() -> dict[str, dict[str, str]]:
    """What workers need to find this package where it is not installed, as in a checkout."""
    root = Path(harness.__file__).parent.parent
    return {"env_vars": {"PYTHONPATH": f"{root}:${{PYTHONPATH}}"}}


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
