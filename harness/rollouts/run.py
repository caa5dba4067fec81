"""One run: a method on a suite, from instances to scores and report."""

import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console

from harness.agents import make_agent
from harness.agents.base import Agent
from harness.config import RunConfig
from harness.environments.images import Images
from harness.grading.grader import GRADER
from harness.questions.grader import grader_name
from harness.records import Instance, RunFolder, Verdict
from harness.rollouts.attempts import AttemptRunner, remove_drafts
from harness.rollouts.executors import make_executor
from harness.rollouts.finish import finish_run
from harness.rollouts.ledger import Job, Ledger, State
from harness.rollouts.lock import (
    RunLock,
    add_images,
    locked_model,
    package_versions,
    write_or_check,
)
from harness.rollouts.models import ServedModel, recorded_model, serve_model
from harness.rollouts.progress import ProgressLine
from harness.rollouts.scheduler import fair_order, run_jobs
from harness.rollouts.supply import Supply
from harness.rollouts.work import WorkOrder
from harness.sandboxes.base import SandboxProvider


@dataclass(frozen=True)
class RunPlan:
    """All that a run needs, found and checked before it starts.

    With `supply`, which gets the instances that are not done, `images` is empty: they come in
    batches.
    """

    folder: RunFolder
    config: RunConfig
    instances: tuple[Instance, ...]
    images: Images
    provider: SandboxProvider
    cache: Path | None
    predictions: Path | None = None
    supply: Callable[[Sequence[Instance]], Supply] | None = None

    @property
    def jobs(self) -> list[Job]:
        """Every attempt of the run."""
        return [
            Job(instance_id=instance.instance_id, seed=seed)
            for seed in self.config.seeds
            for instance in self.instances
        ]


def execute(plan: RunPlan, console: Console) -> None:
    """Run or resume: make and grade every attempt that is not done, then score and report.

    Raises Stopped when interrupted, LockMismatchError when the run on disk was made from other
    inputs, RunBusyError when another process works on it.
    """
    folder = plan.folder
    folder.root.mkdir(parents=True, exist_ok=True)
    agent = make_agent(plan.config.method.agent.kind, _agent_options(plan))
    agent.prepare(lambda line: console.print(line, highlight=False, soft_wrap=True))
    with Ledger(folder) as ledger:
        if removed := plan.provider.cleanup():
            console.print(f"removed {removed} sandboxes of crashed runs")
        remove_drafts(folder)
        if recovered := ledger.recover(folder):
            console.print(f"{recovered} attempts were in flight at a crash: settled")
        made = set(ledger.jobs(State.ROLLED, State.DONE))
        with _model(plan, needed=not made.issuperset(plan.jobs)) as served:
            write_or_check(folder.lock, _lock(plan, agent, served))
            _write_inputs(plan, served)
            ledger.add(plan.jobs)
            verdicts: Counter[Verdict] = Counter()
            for instances, images in _batches(plan, ledger):
                add_images(folder.lock, images.digests)
                order = WorkOrder(
                    config=plan.config,
                    instances={instance.instance_id: instance for instance in instances},
                    images=images.references,
                    endpoint=served.endpoint if served else None,
                    agent_options=_agent_options(plan),
                    cache=plan.cache,
                )
                _work(plan, order, ledger, verdicts, console)
        finish_run(folder, plan.jobs)


def _batches(plan: RunPlan, ledger: Ledger) -> Supply:
    if plan.supply is None:
        yield plan.instances, plan.images
        return
    done = set(ledger.jobs(State.DONE))
    left = {job.instance_id for job in plan.jobs if job not in done}
    yield from plan.supply([one for one in plan.instances if one.instance_id in left])


def _work(
    plan: RunPlan,
    order: WorkOrder,
    ledger: Ledger,
    verdicts: Counter[Verdict],
    console: Console,
) -> None:
    config, instances = plan.config, order.instances
    done = set(ledger.jobs(State.DONE))
    todo = [job for job in plan.jobs if job not in done and job.instance_id in instances]

    def note() -> str:
        return ", ".join(f"{count} {verdict.value}" for verdict, count in verdicts.items())

    title = config.method.name
    with (
        make_executor(config.executor, order, plan.provider) as executor,
        ProgressLine(title, len(plan.jobs), done=len(done), console=console) as progress,
    ):
        runner = AttemptRunner(folder=plan.folder, ledger=ledger, executor=executor)

        def after(job: Job, verdict: Verdict) -> None:
            verdicts[verdict] += 1
            progress.advance(note())

        run_jobs(
            fair_order(todo, lambda job: instances[job.instance_id].repo),
            lambda job: runner.run(job).verdict,
            workers=config.workers,
            after=after,
            on_stop=lambda count: console.print(
                f"stopping: {count} attempts in flight are finished first (again: drop them)"
            ),
        )


def _agent_options(plan: RunPlan) -> dict[str, object]:
    options: dict[str, object] = dict(plan.config.method.agent.options)
    if plan.predictions:
        options["predictions"] = plan.predictions
    return options


@contextmanager
def _model(plan: RunPlan, *, needed: bool) -> Iterator[ServedModel | None]:
    """The run's model, served while the block runs; None when no attempt is left to make."""
    config = plan.config
    if config.model is None or not needed:
        yield None
        return
    if config.replay and config.replay.step is None:
        yield recorded_model(config.replay, config.decoding)
        return
    with serve_model(config.model, config.decoding, plan.folder.root, plan.instances) as served:
        yield served


def _write_inputs(plan: RunPlan, served: ServedModel | None) -> None:
    folder = plan.folder
    if folder.config.exists():
        return
    lines = (instance.model_dump_json(exclude_none=True) for instance in plan.instances)
    folder.suite.write_text("\n".join(lines) + "\n", encoding="utf-8")
    notes = (*plan.config.notes, *(served.notes if served else ()))
    config = plan.config.model_copy(update={"notes": notes})
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    folder.config.write_text(text, encoding="utf-8")


def _lock(plan: RunPlan, agent: Agent, served: ServedModel | None) -> RunLock:
    config = plan.config
    rows = sorted(instance.model_dump_json() for instance in plan.instances)
    return RunLock(
        suite_sha256=config.suite.sha256,
        instances_sha256=hashlib.sha256("\n".join(rows).encode()).hexdigest(),
        images=plan.images.digests,
        method_sha256=_digest(config.method.model_dump(mode="json")),
        model=served.facts if served else locked_model(plan.folder.lock),
        predictions_sha256=(
            hashlib.sha256(plan.predictions.read_bytes()).hexdigest() if plan.predictions else None
        ),
        seeds=config.seeds,
        budget=config.budget.model_dump(mode="json"),
        decoding=config.decoding.model_dump(mode="json"),
        limits=config.limits.model_dump(mode="json"),
        grading=config.grading.model_dump(mode="json"),
        sandbox=config.sandbox,
        agent=dict(agent.facts()),
        grader=GRADER if config.suite.kind == "instances" else grader_name(config.suite.kind),
        packages=package_versions(),
        replay=config.replay.model_dump(mode="json") if config.replay else None,
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def machine_facts() -> dict[str, str]:
    """What a reader needs to know of the machine that a run was made on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": str(os.cpu_count()),
        "memory_gib": f"{memory / 2**30:.1f}",
        "system": platform.system() + " " + platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }
