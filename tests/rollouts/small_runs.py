"""Small runs on real instances, worked through by any executor."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from harness.agents.base import Decoding, Endpoint
from harness.agents.rehearsal import answer, script
from harness.config import AgentConfig, Method, RunConfig, SuiteRef
from harness.environments.images import find_images
from harness.grading.options import GradingOptions
from harness.records import Attempt, Budget, Grade, Instance, RunFolder
from harness.rollouts.attempts import AttemptRunner
from harness.rollouts.executors import Executor, make_executor
from harness.rollouts.ledger import Job, Ledger, State
from harness.rollouts.scheduler import run_jobs
from harness.rollouts.work import WorkOrder
from harness.sandboxes.base import MIB, Limits
from harness.suites.load import load_suite
from tests.agents.scripted_endpoint import scripted
from tests.real import real_instance

Kind = Literal["local", "ray"]
Sandboxes = Literal["docker", "process"]
_LIMITS = Limits(memory_bytes=1024 * MIB, cpus=1)


def instances(count: int) -> list[Instance]:
    """The first instances of a quick repository."""
    real_instance("process")  # skips where process sandboxes do not run
    suite = load_suite("pypi-mini/test").instances
    return [one for one in suite if one.repo == "pallets/itsdangerous"][:count]


def work_order(
    run_id: str,
    agent: str,
    chosen: Sequence[Instance],
    *,
    sandbox: Sandboxes = "process",
    endpoint: Endpoint | None = None,
    options: Mapping[str, object] | None = None,
) -> WorkOrder:
    """A run of an agent on instances that have images."""
    images = find_images(chosen, real_instance(sandbox).provider, print)
    assert not images.problems
    config = RunConfig(
        id=run_id,
        method=Method(name=agent, title=agent, description="-", agent=AgentConfig(kind=agent)),
        profile="embedded",
        suite=SuiteRef(reference="pypi-mini/test", sha256="0" * 64, instances=len(chosen)),
        seeds=(0,),
        sandbox=sandbox,
        model=None,
        budget=Budget(turns=10),
        decoding=Decoding(),
        limits=_LIMITS,
        grading=GradingOptions(limits=_LIMITS),
        workers=2,
        command="-",
        created_at="-",
        machine={},
    )
    return WorkOrder(
        config=config,
        instances={one.instance_id: one for one in chosen},
        images=images.references,
        endpoint=endpoint,
        agent_options=options or {},
        cache=None,
    )


def executor(kind: Kind, order: WorkOrder) -> Executor:
    """An executor with this machine's sandboxes."""
    return make_executor(kind, order, real_instance(order.config.sandbox).provider)


def work_through(folder: RunFolder, order: WorkOrder, worker: Executor, seeds: int = 1) -> None:
    """Make and grade every attempt that is not done."""
    jobs = [Job(instance_id=name, seed=seed) for seed in range(seeds) for name in order.instances]
    folder.root.mkdir(exist_ok=True)
    with Ledger(folder) as ledger:
        ledger.recover(folder)
        ledger.add(jobs)
        runner = AttemptRunner(folder=folder, ledger=ledger, executor=worker)
        done = set(ledger.jobs(State.DONE))
        run_jobs(
            [job for job in jobs if job not in done],
            runner.run,
            workers=order.config.workers,
            after=lambda job, grade: None,
            on_stop=lambda count: None,
        )


def results(folder: RunFolder) -> dict[str, Any]:
    """Everything of a run but times, and how often something was started."""
    found: dict[str, Any] = {}
    for path in sorted(folder.root.glob("*/*/*/**/*")):
        name = path.relative_to(folder.root).as_posix()
        if path.is_dir():
            found[name] = None
        elif path.name in ("attempt.json", "grade.json"):
            record = json.loads(path.read_bytes())
            for key in ("started_at", "seconds", "tries", "timing"):
                record.pop(key, None)
            found[name] = record
        elif path.name == "patch.diff":
            found[name] = path.read_bytes()
        elif path.name == "events.jsonl":
            events = [json.loads(line) for line in path.read_bytes().splitlines()]
            found[name] = [(event["step"], event["kind"], event["text"]) for event in events]
        else:
            found[name] = "a file"
    return found


def attempts(folder: RunFolder) -> list[Attempt]:
    """Every attempt of a run."""
    found = sorted(folder.root.glob("attempts/*/*/attempt.json"))
    return [Attempt.model_validate_json(path.read_bytes()) for path in found]


def grades(folder: RunFolder) -> list[Grade]:
    """Every grade of a run."""
    found = sorted(folder.root.glob("grades/*/*/grade.json"))
    return [Grade.model_validate_json(path.read_bytes()) for path in found]


class GoldModel:
    """A model that plays gold patches, and answers nothing while it is held."""

    def __init__(self, one: Instance) -> None:
        self._scripts = {"".join(one.problem_statement.split()): script(one)}
        self._free = threading.Event()
        self._free.set()
        self._held = 0
        self._changed = threading.Condition()
        self.endpoint = Endpoint(base_url="", model="")

    def hold(self) -> None:
        """Let calls wait from now on."""
        self._held = 0
        self._free.clear()

    def wait_for_calls(self, count: int) -> None:
        """Wait until so many calls have come while it was held."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._held == count, 120), self._held

    def release(self) -> None:
        """Answer again."""
        self._free.set()

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body for a chat request."""
        if not self._free.is_set():
            with self._changed:
                self._held += 1
                self._changed.notify_all()
            self._free.wait(120)
        message = {"role": "assistant"} | answer(request, self._scripts)
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        return 200, {}, {"object": "chat.completion", "choices": [choice], "usage": usage}


@contextmanager
def gold_model(one: Instance) -> Iterator[GoldModel]:
    """Serve a GoldModel on a loopback port."""
    model = GoldModel(one)
    with scripted("unused") as served:
        served.answer = model.answer  # type: ignore[method-assign]
        model.endpoint = served.endpoint
        yield model


def predictions(folder: Path, one: Instance) -> Path:
    """A file of predictions with the gold patch."""
    path = folder / "predictions.jsonl"
    row = {"instance_id": one.instance_id, "model_name_or_path": "a", "model_patch": one.patch}
    path.write_text(json.dumps(row) + "\n")
    return path
