"""Every executor does the same work; Ray's loses and doubles nothing when a node is killed."""

import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.agents.base import Endpoint
from harness.config import ConfigError
from harness.records import RunFolder, StopReason, Verdict
from harness.rollouts.executors import ray as ray_executor
from harness.rollouts.executors import ray_worker
from harness.rollouts.executors.base import ExecutorFailure
from harness.rollouts.executors.ray import RayExecutor
from harness.rollouts.executors.ray_files import FilesError
from harness.rollouts.ledger import Job
from harness.rollouts.work import WorkOrder
from harness.sandboxes.base import SandboxProvider
from tests.real import PROVIDERS, leftovers, real_instance
from tests.rollouts.ray_cluster import RayCluster, ray_cluster
from tests.rollouts.small_runs import (
    Kind,
    Sandboxes,
    attempts,
    executor,
    gold_model,
    grades,
    instances,
    predictions,
    results,
    work_order,
    work_through,
)

# Its workers clean up what any harness left in the engine, so other tests of the engine must wait.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("docker")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with pytest.MonkeyPatch.context() as patch, ray_cluster(patch) as cluster:
        yield cluster


@pytest.fixture(params=["local", "ray"])
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    kind: Kind = request.param
    return kind


@pytest.fixture
def run_id() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def test_gold_resolves_and_its_files_are_there(kind: Kind, run_id: str, tmp_path: Path) -> None:
    (one,) = instances(1)
    job, draft = Job(instance_id=one.instance_id, seed=3), tmp_path / "draft"
    draft.mkdir()
    (draft / "old.txt").write_text("of a crash")
    with executor(kind, work_order(run_id, "gold", [one])) as worker:
        attempt = worker.make(job, draft)
        grade = worker.grade(job, attempt, one.patch, tmp_path / "grade")
    assert (attempt.seed, attempt.stop_reason, attempt.tries) == (3, StopReason.FINISHED, 1)
    assert grade.verdict is Verdict.RESOLVED
    assert {path.name for path in draft.iterdir()} == {
        "attempt.json",
        "events.jsonl",
        "logs",
        "patch.diff",
    }
    assert (draft / "patch.diff").read_text() == one.patch
    assert {path.name for path in (tmp_path / "grade").iterdir()} == {"eval.log", "grade.json"}


def test_noop_is_an_empty_patch(kind: Kind, run_id: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    order = work_order(run_id, "noop", instances(1))
    with executor(kind, order) as worker:
        work_through(folder, order, worker)
    assert [grade.verdict for grade in grades(folder)] == [Verdict.EMPTY_PATCH]


def test_files_of_options_reach_the_agent(kind: Kind, run_id: str, tmp_path: Path) -> None:
    (one,) = instances(1)
    folder = RunFolder(tmp_path / "run")
    options = {"predictions": predictions(tmp_path, one)}
    order = work_order(run_id, "replay", [one], options=options)
    with executor(kind, order) as worker:
        work_through(folder, order, worker)
    assert [grade.verdict for grade in grades(folder)] == [Verdict.RESOLVED]


def test_a_missing_image_is_an_infrastructure_failure(
    kind: Kind, run_id: str, tmp_path: Path
) -> None:
    (one,) = instances(1)
    order = work_order(run_id, "mini", [one])
    order = order.model_copy(update={"images": {one.instance_id: str(tmp_path / "none")}})
    folder = RunFolder(tmp_path / "run")
    with executor(kind, order) as worker:
        work_through(folder, order, worker)
    assert [attempt.stop_reason for attempt in attempts(folder)] == [StopReason.INFRASTRUCTURE]
    assert [grade.verdict for grade in grades(folder)] == [Verdict.INFRA_FAILURE]


@pytest.mark.parametrize("sandbox", PROVIDERS)
def test_a_killed_node_changes_no_result(
    cluster: RayCluster, sandbox: Sandboxes, run_id: str, tmp_path: Path
) -> None:
    cluster.restore()
    one = real_instance(sandbox).instance
    with gold_model(one) as model:
        order = work_order(run_id, "mini", [one], sandbox=sandbox, endpoint=model.endpoint)
        calm, killed = RunFolder(tmp_path / "calm"), RunFolder(tmp_path / "killed")
        with executor("local", order) as worker:
            work_through(calm, order, worker, seeds=3)

        def kill() -> None:
            model.wait_for_calls(2)
            assert {*cluster.busy("make")} == {"head", "second"}
            cluster.kill_second()
            model.release()

        model.hold()
        killer = threading.Thread(target=kill)
        with executor("ray", order) as worker:
            killer.start()
            work_through(killed, order, worker, seeds=3)
        killer.join()

    assert leftovers(real_instance(sandbox).provider, run_id) == []
    assert {grade.verdict for grade in grades(calm)} == {Verdict.RESOLVED}
    assert results(killed) == results(calm)
    assert Counter(attempt.tries for attempt in attempts(killed)) == {1: 2, 2: 1}
    with sqlite3.connect(killed.ledger) as ledger:
        rows = ledger.execute("SELECT instance_id, seed, state FROM history").fetchall()
    assert set(Counter(rows).values()) == {1}, "something was counted twice"
    states = ("rolling", "rolled", "grading", "done")
    assert Counter(state for _, _, state in rows) == dict.fromkeys(states, 3)
    assert not list(killed.root.glob("*/*/.*")), "drafts are left"


def test_what_is_lost_twice_is_an_infrastructure_failure(
    cluster: RayCluster, run_id: str, tmp_path: Path
) -> None:
    (one,) = instances(1)
    folder = RunFolder(tmp_path / "run")
    with gold_model(one) as model:
        order = work_order(run_id, "mini", [one], endpoint=model.endpoint)
        model.hold()

        def kill_twice() -> None:
            for calls in (1, 2):
                model.wait_for_calls(calls)
                cluster.kill(cluster.busy("make").values())

        killer = threading.Thread(target=kill_twice)
        with executor("ray", order) as worker:
            killer.start()
            work_through(folder, order, worker)
        killer.join()
        model.release()
    (attempt,), (grade,) = attempts(folder), grades(folder)
    assert (attempt.stop_reason, attempt.tries) == (StopReason.INFRASTRUCTURE, 2)
    assert "lost on 2 machines: WorkerCrashedError" in attempt.detail
    assert grade.verdict is Verdict.INFRA_FAILURE
    assert leftovers(real_instance("process").provider, run_id) == []


def test_files_that_are_not_accepted_are_an_infrastructure_failure(
    cluster: RayCluster, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(files: Mapping[str, bytes], folder: Path) -> None:
        raise FilesError("a worker sent a file named '../x'")

    monkeypatch.setattr(ray_executor, "unpack", unpack)
    folder, order = RunFolder(tmp_path / "run"), work_order(run_id, "gold", instances(1))
    with executor("ray", order) as worker:
        work_through(folder, order, worker)
    (attempt,), (grade,) = attempts(folder), grades(folder)
    assert (attempt.stop_reason, attempt.tries) == (StopReason.INFRASTRUCTURE, 1)
    assert attempt.detail == "a worker sent a file named '../x'"
    assert grade.verdict is Verdict.INFRA_FAILURE


def test_a_run_without_a_node_ends_with_what_to_do(
    cluster: RayCluster, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = instances(1)
    job, order = Job(instance_id=one.instance_id, seed=0), work_order(run_id, "noop", [one])
    with executor("ray", order) as worker:
        monkeypatch.setattr(RayExecutor, "_cpus", 64)  # as if the nodes had gone
        monkeypatch.setattr(ray_executor, "_PATIENCE", 0.1)
        with pytest.raises(ExecutorFailure, match="no Ray node has had 64 CPUs: start nodes"):
            worker.make(job, tmp_path / "draft")
    with (
        pytest.raises(ConfigError, match="no node of the Ray cluster has the 64 CPUs"),
        executor("ray", order),
    ):
        pass


def test_an_endpoint_of_this_machine_alone_is_refused(
    cluster: RayCluster, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:8000/v1", model="m")
    order = work_order(run_id, "mini", instances(1), endpoint=endpoint)
    monkeypatch.setattr(RayExecutor, "_nodes", lambda _: [{"NodeManagerAddress": "10.9.8.7"}])
    with (
        pytest.raises(ConfigError, match=r"the Ray node 10\.9\.8\.7 cannot reach it"),
        executor("ray", order),
    ):
        pass


def test_a_node_that_differs_is_refused_by_name(
    cluster: RayCluster, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def other_facts(order: WorkOrder, provider: SandboxProvider) -> dict[str, str]:
        return ray_worker.node_facts(order, provider) | {"package swebench": "0.1"}

    monkeypatch.setattr(ray_executor, "node_facts", other_facts)
    ray.shutdown()  # so that the executor has to connect by itself
    order = work_order(run_id, "gold", instances(1))
    with (
        pytest.raises(ConfigError, match=r"Ray node .*: package swebench: 0\.1 at the driver, 5"),
        executor("ray", order),
    ):
        pass
    assert not ray.is_initialized()


def test_an_address_without_a_cluster_is_refused(
    run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray").shutdown()
    order = work_order(run_id, "noop", instances(1))
    for address in ("ray://127.0.0.1:10001", "nonsense"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ConfigError, match=address), executor("ray", order):
            pass
