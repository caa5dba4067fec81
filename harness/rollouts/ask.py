"""Runs on questions: one answer for each question and seed, in the run folder of every run."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.agents.base import Decoding
from harness.config import (
    AgentConfig,
    ConfigError,
    Method,
    ModelConfig,
    Profile,
    RunConfig,
    SuiteRef,
    load_profile,
)
from harness.grading.options import GradingOptions
from harness.questions.load import Questions, load_questions
from harness.questions.places import place_of
from harness.questions.prompts import prompt_of
from harness.records import Budget, Instance, RunFolder
from harness.reports.html import write_report
from harness.reports.markdown import summary_table
from harness.rollouts.admission import Refused, record_refused, show_refused
from harness.rollouts.finish import run_summary
from harness.rollouts.progress import make_console
from harness.rollouts.run import RunPlan, execute, machine_facts
from harness.suites.select import select

METHOD = "answer"


@dataclass(frozen=True)
class AskRequest:
    """The options of `harness ask`. What is None is the profile's.

    sample: the seed of a random choice of `limit` questions; None: the first ones.
    seconds: wall clock of one answer. test_seconds: of all tests of one answer.
    """

    suite: str
    profile: str
    seeds: tuple[int, ...]
    runs: Path
    command: str
    rows: Path | None = None
    split: str | None = None
    questions: tuple[str, ...] = ()
    limit: int | None = None
    sample: int | None = None
    model: str | None = None
    adapter: Path | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seconds: float | None = None
    test_seconds: float = 300.0
    run_id: str | None = None
    workers: int | None = None


def run_ask(request: AskRequest, *, dry_run: bool) -> dict[str, Any]:
    """Ask every question with every seed, grade and score the answers, and return a summary.

    Raises ConfigError, SuiteError and other errors of the user's before anything runs.
    """
    console = make_console()
    profile = load_profile(request.profile)
    if profile.model.kind == "rehearsal":
        raise ConfigError("the profile 'rehearsal' plays patches; questions need a model")
    found = load_questions(request.suite, rows=request.rows, split=request.split)
    instances = select(
        found.suite.instances, ids=request.questions, limit=request.limit, seed=request.sample
    )
    refused = [Refused(row.text, "malformed row") for row in found.suite.refused]
    show_refused(refused, console)
    name = request.run_id or _default_id(request, found)
    config = _config(request, profile, found, instances, name)
    provider, images = place_of(found.kind, instances)
    folder = RunFolder(request.runs / name)
    plan = RunPlan(folder, config, instances, images, provider, cache=None)
    if dry_run:
        console.print(_describe(plan, found), highlight=False, soft_wrap=True)
        return {"dry_run": True, "run": json.loads(config.model_dump_json())}
    execute(plan, console)
    record_refused(folder, refused)
    report = folder.report
    write_report([folder], report, title=name)
    console.print(summary_table([folder]))
    summary = run_summary(folder)
    console.print(_score(summary), highlight=False, soft_wrap=True)
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
    return summary | {"report": str(report), "refused": [vars(one) for one in refused]}


def _default_id(request: AskRequest, found: Questions) -> str:
    model = Path(request.model).name if request.model else request.profile
    parts = [found.suite.name, model, request.adapter.name if request.adapter else ""]
    return re.sub(r"[^A-Za-z0-9._\-]+", "-", "-".join(filter(None, parts))).strip("-.")[:80]


def _config(
    request: AskRequest,
    profile: Profile,
    found: Questions,
    instances: tuple[Instance, ...],
    name: str,
) -> RunConfig:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._\-]*", name):
        raise ConfigError(f"--run-id {name!r}: use letters, digits, '.', '_' and '-'")
    asked = {"name": request.model, "adapter": request.adapter}
    decoding = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
    }
    seconds = request.seconds or profile.budget.wall_clock_seconds
    gateway = profile.gateway
    return RunConfig(
        id=f"{name}-{METHOD}",
        method=Method(
            name=METHOD,
            title="One answer",
            description="One call of the model for each question, without tools.",
            agent=AgentConfig(kind="answer", options={"prompt": prompt_of(found.kind)}),
            needs_model=True,
        ),
        profile=profile.name,
        suite=SuiteRef(
            kind=found.kind,
            reference=request.suite,
            split=found.suite.split,
            revision=found.suite.revision,
            sha256=found.suite.sha256,
            instances=len(instances),
        ),
        seeds=request.seeds,
        sandbox="process",
        model=ModelConfig.model_validate(profile.model.model_dump() | _given(asked)),
        budget=Budget(turns=1, wall_clock_seconds=seconds),
        decoding=Decoding.model_validate(profile.decoding.model_dump() | _given(decoding)),
        limits=profile.limits,
        gateway=gateway.model_copy(update={"call_seconds": max(gateway.call_seconds, seconds)}),
        grading=GradingOptions(test_timeout=request.test_seconds, limits=profile.limits),
        workers=request.workers or profile.workers,
        command=request.command,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine_facts(),
        notes=_notes(found),
    )


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _notes(found: Questions) -> tuple[str, ...]:
    notes = [f"Licence of {found.suite.name}: {found.licence}."]
    if found.elsewhere:
        notes.append(f"{found.elsewhere} rows are not of this suite, by its manifest.")
    if found.kind == "math":
        notes.append("Answers are compared by math-verify; nothing of them is executed.")
    return tuple(notes)


def _describe(plan: RunPlan, found: Questions) -> str:
    config = plan.config
    assert config.model is not None
    return (
        f"{config.id}: {len(plan.instances)} {found.kind} questions × {len(config.seeds)} seeds = "
        f"{len(plan.jobs)} answers of at most {config.decoding.max_tokens} tokens, "
        f"{config.workers} at a time, model {config.model.name or config.model.kind}, "
        f"in {plan.folder.root}"
    )


def _score(summary: dict[str, Any]) -> str:
    rate, count = summary["pass_at_1"], len(summary["seeds"])
    if rate is None:
        return "no answer was graded"
    return (
        f"avg@{count} = {rate['value']:.1%} ({rate['level']:.0%} interval {rate['low']:.1%} to "
        f"{rate['high']:.1%}, {rate['method']}), {summary['instances']} questions"
    )
