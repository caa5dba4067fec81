"""From what the user asked for to runs: everything is found and checked before anything starts."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from rich.console import Console

from harness.config import (
    ConfigError,
    Method,
    ModelConfig,
    Profile,
    RunConfig,
    SuiteRef,
    load_method,
    load_profile,
    on_profile,
)
from harness.environments.images import Images, find_images
from harness.environments.prune import parse_size
from harness.environments.usage import using
from harness.grading.options import GradingOptions
from harness.records import Instance, RunFolder
from harness.records.cache import cache_root
from harness.reports.html import write_report
from harness.reports.markdown import summary_table
from harness.rollouts.admission import (
    Refused,
    check_images,
    gradable,
    only_predicted,
    record_refused,
    show_refused,
    with_images,
)
from harness.rollouts.finish import run_summary
from harness.rollouts.progress import make_console
from harness.rollouts.run import RunPlan, execute, machine_facts
from harness.rollouts.supply import Supply, supply_images
from harness.sandboxes import make_provider
from harness.sandboxes.base import SandboxProvider
from harness.suites.load import Suite, load_suite
from harness.suites.select import select

DEFAULT_SUITE = "pypi-mini"


@dataclass(frozen=True)
class EvalRequest:
    """The options of `harness eval` and `harness grade`.

    suite: where none is given, the one that the methods name.
    """

    methods: tuple[str, ...]
    suite: str | None
    profile: str
    seeds: tuple[int, ...]
    runs: Path
    command: str
    rows: Path | None = None
    instances: tuple[str, ...] = ()
    repos: tuple[str, ...] = ()
    limit: int | None = None
    model: str | None = None
    adapter: Path | None = None
    agent_options: tuple[str, ...] = ()
    turns: int | None = None
    predictions: Path | None = None
    only_predicted: bool = False
    refuse_missing_images: bool = False
    run_id: str | None = None
    workers: int | None = None
    sandbox: Literal["docker", "process"] | None = None
    executor: Literal["local", "ray"] | None = None
    disk_budget: str | None = None
    mirrors: Path | None = None
    allow_leaks: bool = False
    allow_unlocked: bool = False
    early_exit: bool = False
    test_timeout: float = 1800.0
    use_cache: bool = True


def run_request(request: EvalRequest, *, dry_run: bool) -> dict[str, Any]:
    """Run every method of a request, write its report, and return a summary.

    Raises ConfigError, SuiteError and other errors of the user's before anything runs.
    """
    console = make_console()
    profile = load_profile(request.profile)
    methods = [
        _with_options(on_profile(load_method(name), profile), request.agent_options)
        for name in request.methods
    ]
    _check(request, methods)
    for method in methods:
        for need in method.needs:
            console.print(f"{method.name} needs {need.text}", highlight=False, soft_wrap=True)
    reference = request.suite or _own_suite(methods)
    suite = load_suite(reference, rows=request.rows)
    instances = tuple(
        select(suite.instances, ids=request.instances, repos=request.repos, limit=request.limit)
    )
    refused = [Refused(row.text, "malformed row") for row in suite.refused]
    if request.only_predicted and request.predictions:
        instances = only_predicted(instances, request.predictions, reference, refused)
    instances = gradable(instances, refused)
    sandbox = request.sandbox or profile.sandbox
    provider = make_provider(sandbox)
    images = Images()
    supply = None
    if request.disk_budget:
        supply = _supply(request, provider, sandbox, console)
    elif provider.kind == "docker" or not dry_run:  # process images are built when missing
        images = find_images(
            instances,
            provider,
            lambda line: console.print(line, highlight=False, soft_wrap=True),
        )
    instances = with_images(instances, images, refused, refuse=request.refuse_missing_images)
    allowed: tuple[str, ...] = ()
    if not dry_run:
        allowed = _check_images(request, instances, images, sandbox, console)
    show_refused(refused, console)
    if not instances:
        raise ConfigError("nothing to run: every instance was refused (see above)")

    root = request.runs / (request.run_id or _default_id(request, suite))
    if len(methods) > 1 and (root / "run.yaml").exists():
        raise ConfigError(f"{root} is a run of one method: choose another --run-id")
    folders = {
        method.name: RunFolder(root if len(methods) == 1 else root / method.name)
        for method in methods
    }
    plans = [
        RunPlan(
            folder=folders[method.name],
            config=_config(request, method, profile, reference, suite, instances, notes=allowed),
            instances=instances,
            images=images,
            provider=provider,
            cache=cache_root() / "grades" if request.use_cache else None,
            predictions=request.predictions if method.agent.kind == "replay" else None,
            supply=supply,
        )
        for method in methods
    ]
    if dry_run:
        for plan in plans:
            console.print(_describe(plan), highlight=False, soft_wrap=True)
        return {
            "dry_run": True,
            "refused": [vars(one) for one in refused],
            "runs": [json.loads(plan.config.model_dump_json()) for plan in plans],
        }
    with using(images.references.values()):
        for plan in plans:
            execute(plan, console)
            record_refused(plan.folder, refused)
    runs = list(folders.values())
    report = root / "report" / "index.html"
    write_report(runs, report, title=root.name)
    console.print(summary_table(runs))
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
    return {
        "report": str(report),
        "refused": [vars(one) for one in refused],
        "runs": [run_summary(folder) for folder in runs],
    }


def _check(request: EvalRequest, methods: list[Method]) -> None:
    if len({method.name for method in methods}) != len(methods):
        raise ConfigError("a method was given twice")
    replays = any(method.agent.kind == "replay" for method in methods)
    if replays != (request.predictions is not None):
        raise ConfigError("--predictions FILE goes with --method replay, and the other way round")
    if request.run_id and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._\-]*", request.run_id):
        raise ConfigError(f"--run-id {request.run_id!r}: use letters, digits, '.', '_' and '-'")


def _with_options(method: Method, options: Sequence[str]) -> Method:
    """A method whose agent has options of the command line, as YAML values."""
    own = dict(method.agent.options)
    for option in options:
        key, equals, text = option.partition("=")
        if not key or not equals:
            raise ConfigError(f"--agent-option {option!r}: expected KEY=VALUE")
        own[key] = yaml.safe_load(text)
    agent = method.agent.model_copy(update={"options": own})
    return method.model_copy(update={"agent": agent})


def _own_suite(methods: Sequence[Method]) -> str:
    """The suite that the methods are for. Raises ConfigError when they are for several."""
    suites = sorted({method.suite or DEFAULT_SUITE for method in methods})
    if len(suites) > 1:
        raise ConfigError(f"these methods are for {' and '.join(suites)}: choose one by --suite")
    return suites[0]


def _supply(
    request: EvalRequest,
    provider: SandboxProvider,
    sandbox: Literal["docker", "process"],
    console: Console,
) -> Callable[[Sequence[Instance]], Supply]:
    if sandbox != "docker":
        raise ConfigError("--disk-budget is for Docker images: use --sandbox docker")
    budget = parse_size(str(request.disk_budget))

    def check(instances: tuple[Instance, ...], images: Images) -> None:
        here = tuple(one for one in instances if one.instance_id in images.references)
        _check_images(request, here, images, sandbox, console)

    def show(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    return lambda instances: supply_images(
        instances,
        provider,
        budget_bytes=budget,
        mirrors=request.mirrors,
        check=check,
        on_progress=show,
    )


def _check_images(
    request: EvalRequest,
    instances: tuple[Instance, ...],
    images: Images,
    sandbox: Literal["docker", "process"],
    console: Console,
) -> tuple[str, ...]:
    return check_images(
        instances,
        images,
        sandbox,
        console,
        allow_leaks=request.allow_leaks,
        allow_unlocked=request.allow_unlocked,
    )


def _default_id(request: EvalRequest, suite: Suite) -> str:
    parts = [suite.name.removesuffix(".jsonl"), *(Path(name).stem for name in request.methods)]
    if request.predictions:
        parts.append(request.predictions.name.split(".")[0])
    return re.sub(r"[^A-Za-z0-9._\-]+", "-", "-".join(parts)).strip("-")[:80]


def _config(
    request: EvalRequest,
    method: Method,
    profile: Profile,
    reference: str,
    suite: Suite,
    instances: tuple[Instance, ...],
    *,
    notes: tuple[str, ...],
) -> RunConfig:
    budget = method.budget or profile.budget
    if request.turns:
        budget = budget.model_copy(update={"turns": request.turns})
    model = (method.model or profile.model) if method.needs_model else None
    if model:
        asked = {"name": request.model, "adapter": request.adapter}
        given = {key: value for key, value in asked.items() if value is not None}
        model = ModelConfig.model_validate(model.model_dump() | given)
    name = request.run_id or _default_id(request, suite)
    return RunConfig(
        id=f"{name}-{method.name}",
        method=method,
        profile=profile.name,
        suite=SuiteRef(
            reference=reference,
            split=suite.split,
            revision=suite.revision,
            sha256=suite.sha256,
            instances=len(instances),
        ),
        seeds=request.seeds,
        sandbox=request.sandbox or profile.sandbox,
        model=model,
        budget=budget,
        decoding=method.decoding or profile.decoding,
        limits=profile.limits,
        gateway=profile.gateway,
        grading=GradingOptions(
            early_exit=request.early_exit,
            test_timeout=request.test_timeout,
            limits=profile.limits,
        ),
        workers=request.workers or profile.workers,
        executor=request.executor or profile.executor,
        notes=notes,
        command=request.command,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine_facts(),
    )


def _describe(plan: RunPlan) -> str:
    config = plan.config
    model = config.model.name or config.model.kind if config.model else "none"
    return (
        f"{config.id}: {len(plan.instances)} instances × {len(config.seeds)} seeds = "
        f"{len(plan.jobs)} attempts, {config.workers} at a time, {config.sandbox} sandboxes, "
        f"model {model}, in {plan.folder.root}"
    )
