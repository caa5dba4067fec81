"""Recorded attempts run again from a turn: what is needed is found and checked before it starts."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError
from rich.console import Console

from harness.config import ConfigError, Method, ModelConfig, Replay, RunConfig
from harness.environments.images import Images, find_images
from harness.environments.usage import using
from harness.records import Attempt, Instance, RunFolder
from harness.reports.html import write_report
from harness.reports.markdown import summary_table
from harness.rollouts.admission import check_images, record_refused, with_images
from harness.rollouts.ledger import Job
from harness.rollouts.progress import make_console
from harness.rollouts.recordings import recording_for
from harness.rollouts.replay_check import Replayed, check
from harness.rollouts.run import RunPlan, execute, machine_facts
from harness.sandboxes import make_provider
from harness.suites.errors import did_you_mean

PIChoice = Literal["recorded", "none", "given", "empty"]


@dataclass(frozen=True)
class ReplayRequest:
    """The options of `harness replay`. step: the first turn that a model answers; None: none."""

    run: Path
    instances: tuple[str, ...]
    seed: int
    step: int | None
    runs: Path
    command: str
    live_seeds: tuple[int, ...] = ()
    pi: PIChoice = "recorded"
    pi_records: Path | None = None
    pi_source: str | None = None
    model: str | None = None
    adapter: Path | None = None
    run_id: str | None = None
    allow_divergence: bool = False
    allow_leaks: bool = False
    allow_unlocked: bool = False


def replay(request: ReplayRequest, *, dry_run: bool) -> tuple[RunFolder, list[Replayed]]:
    """Run attempts again, grade them, and compare with what was recorded; a folder as of any run.

    Raises ConfigError, RecordingError and other errors of the user's before anything runs.
    """
    console = make_console()
    source = RunFolder(request.run)
    config, instances = _recorded(request, source)
    config = _config(request, source, config, instances)
    folder = RunFolder(request.runs / config.id)
    jobs = [
        Job(instance_id=one.instance_id, seed=seed) for seed in config.seeds for one in instances
    ]
    for job in jobs:
        recording_for(config, job)
    if dry_run:
        console.print(f"{_note(config)} In {folder.root}.", highlight=False, soft_wrap=True)
        return folder, []
    plan = _plan(request, source, folder, config, instances, console)
    with using(plan.images.references.values()):
        execute(plan, console)
    record_refused(folder, [])
    write_report([folder], folder.report, title=folder.root.name)
    console.print(summary_table([folder]))
    replayed = [check(source, folder, config, job) for job in jobs]
    lines = [one.model_dump(mode="json") for one in replayed]
    text = json.dumps({"schema_version": 1, "replayed": lines}, indent=1) + "\n"
    (folder.root / "replay.json").write_text(text, encoding="utf-8")
    return folder, replayed


def _recorded(request: ReplayRequest, source: RunFolder) -> tuple[RunConfig, tuple[Instance, ...]]:
    if not source.config.is_file():
        raise ConfigError(f"{source.root} is no run: it has no run.yaml")
    try:
        config = RunConfig.model_validate(yaml.safe_load(source.config.read_text("utf-8")))
        lines = source.suite.read_text(encoding="utf-8").splitlines()
        known = {one.instance_id: one for one in map(Instance.model_validate_json, lines)}
    except (OSError, ValidationError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{source.root}: its run.yaml or instances.jsonl is damaged: {error}"
        ) from None
    if config.suite.kind != "instances":
        raise ConfigError(f"{source.root} asks questions: only attempts on repositories replay")
    for name in request.instances:
        if name not in known:
            hint = did_you_mean(name, list(known))
            raise ConfigError(f"{source.root} has no instance {name!r}{hint}")
        attempt = source.attempt(known[name].id, request.seed)
        if not (attempt / "attempt.json").is_file():
            seeds = ", ".join(map(str, config.seeds))
            raise ConfigError(f"{attempt}: no attempt; the run's seeds are {seeds}")
        if not (attempt / "calls.parquet").is_file():
            raise ConfigError(f"{attempt}: the attempt asked no model, so nothing can be replayed")
    return config, tuple(known[name] for name in dict.fromkeys(request.instances))


def _config(
    request: ReplayRequest,
    source: RunFolder,
    config: RunConfig,
    instances: tuple[Instance, ...],
) -> RunConfig:
    attempts = {one.instance_id: source.attempt(one.id, request.seed) for one in instances}
    try:
        recorded = [
            Attempt.model_validate_json((path / "attempt.json").read_bytes())
            for path in attempts.values()
        ]
    except ValidationError as error:
        raise ConfigError(f"{source.root}: an attempt.json is damaged: {error}") from None
    last = max(attempt.usage.turns for attempt in recorded)
    step = request.step if request.step and request.step <= last else None
    method = _with_pi(request, config.method, step)
    model = _model(request, config.model)
    facts = _lock(source).get("model") or {}
    card = {"id": recorded[0].model, "object": "model"}
    if isinstance(facts.get("max_model_len"), int):
        card["max_model_len"] = facts["max_model_len"]
    made = Replay(
        run=str(request.run),
        seed=request.seed,
        step=step,
        pi=request.pi,
        forced=request.allow_divergence,
        ids=model == config.model,
        card=card,
        calls_sha256={
            name: hashlib.sha256((path / "calls.parquet").read_bytes()).hexdigest()
            for name, path in attempts.items()
        },
    )
    name = request.run_id or _default_id(request, made)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._\-]*", name):
        raise ConfigError(f"--run-id {name!r}: use letters, digits, '.', '_' and '-'")
    changed = config.model_copy(
        update={
            "id": name,
            "method": method,
            "seeds": request.live_seeds or (request.seed,),
            "model": model,
            "suite": config.suite.model_copy(update={"instances": len(instances)}),
            "executor": "local",
            "replay": made,
            "command": request.command,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine_facts(),
        }
    )
    return changed.model_copy(update={"notes": (_note(changed),)})


def _with_pi(request: ReplayRequest, method: Method, step: int | None) -> Method:
    if request.pi == "recorded":
        if request.pi_records or request.pi_source:
            raise ConfigError("--pi-records and --pi-source go with --pi given")
        return method
    if method.agent.kind != "repair":
        raise ConfigError(
            f"--pi {request.pi}: the agent {method.agent.kind} is shown no PI; the repair agent is"
        )
    if step != 1 and not request.allow_divergence:
        raise ConfigError(
            f"--pi {request.pi} changes the first prompt, so recorded answers were given to "
            "another one: choose --step 1, or --allow-divergence to give them all the same"
        )
    kept = {key: value for key, value in method.agent.options.items() if not key.startswith("pi")}
    options = kept | {"pi": request.pi}
    if request.pi == "given":
        recorded = method.agent.options
        options["pi_records"] = str(request.pi_records or recorded.get("pi_records") or "") or None
        options["pi_source"] = request.pi_source or recorded.get("pi_source")
    agent = method.agent.model_copy(update={"options": options})
    return method.model_copy(update={"agent": agent})


def _model(request: ReplayRequest, model: ModelConfig | None) -> ModelConfig | None:
    if request.model is None and request.adapter is None:
        return model
    if model is None or model.kind == "rehearsal":
        raise ConfigError("the recorded run had no model that --model or --adapter could replace")
    name = request.model or model.name
    return model.model_copy(update={"name": name, "adapter": request.adapter})


def _default_id(request: ReplayRequest, made: Replay) -> str:
    parts = ["replay", request.run.resolve().name, *request.instances[:1], f"s{request.seed}"]
    if len(request.instances) > 1:
        parts.append(f"and-{len(request.instances) - 1}")
    parts.append(f"step{made.step}" if made.step else "exact")
    if request.pi != "recorded":
        parts.append(f"pi-{request.pi}")
    if request.model:
        parts.append(Path(request.model).name)
    return re.sub(r"[^A-Za-z0-9._\-]+", "-", "-".join(parts))[:120]


def _note(config: RunConfig) -> str:
    made = config.replay
    assert made is not None
    what = f"{config.suite.instances} attempts of {made.run}, seed {made.seed}"
    how = f"turns from {made.step} on are live" if made.step else "no turn is live"
    pi = "" if made.pi == "recorded" else f"; PI: {made.pi}"
    forced = "; recorded answers are given whatever is asked" if made.forced else ""
    return f"A replay of {what}: {how}{pi}{forced}."


def _plan(
    request: ReplayRequest,
    source: RunFolder,
    folder: RunFolder,
    config: RunConfig,
    instances: tuple[Instance, ...],
    console: Console,
) -> RunPlan:
    provider = make_provider(config.sandbox)
    images = find_images(instances, provider, lambda line: console.print(line, markup=False))
    with_images(instances, images, [], refuse=False)
    if not request.allow_unlocked:
        _check_digests(source, images)
    allowed = check_images(
        instances,
        images,
        config.sandbox,
        console,
        allow_leaks=request.allow_leaks,
        allow_unlocked=request.allow_unlocked,
    )
    noted = config.model_copy(update={"notes": (*config.notes, *allowed)})
    return RunPlan(folder, noted, instances, images, provider, cache=None)


def _lock(source: RunFolder) -> dict[str, Any]:
    try:
        made = json.loads(source.lock.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{source.lock}: not a run's lock ({error})") from None
    if not isinstance(made, dict):
        raise ConfigError(f"{source.lock}: not a run's lock")
    return made


def _check_digests(source: RunFolder, images: Images) -> None:
    recorded = _lock(source).get("images") or {}
    for name, digest in images.digests.items():
        if recorded.get(name) != digest:
            raise ConfigError(
                f"the image of {name} is {digest}, and the recorded attempt ran in "
                f"{recorded.get(name)}: bring that one back, or use --allow-unlocked"
            )
