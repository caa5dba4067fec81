"""`harness eval` and `harness grade`."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from harness.cli.common import JSON_OPTION, parse_seeds

_SUITES = "A shipped suite (pypi-mini, pypi-mini/test), a JSONL/Parquet file, or a hub id."


def evaluate(
    method: Annotated[
        list[str], typer.Option("--method", "-m", help="A method, or a YAML file; may be repeated.")
    ],
    suite: Annotated[
        str | None,
        typer.Option("--suite", "-s", help=f"{_SUITES} Default: the method's, or pypi-mini."),
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="Local rows of a suite that fixes ids only.")
    ] = None,
    profile: Annotated[str, typer.Option("--profile", "-p", help="embedded, docker.")] = "embedded",
    instance: Annotated[
        list[str] | None, typer.Option("--instance", "-i", help="Only these ids.")
    ] = None,
    repo: Annotated[list[str] | None, typer.Option(help="Only these repositories.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many instances.")] = None,
    seeds: Annotated[str, typer.Option(help="How many (3: 0, 1, 2), or a list (0,7).")] = "1",
    model: Annotated[
        str | None, typer.Option(help="Model: a shipped name, a folder, a hub or endpoint id.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="LoRA adapter of the model: shipped, or a folder.")
    ] = None,
    agent_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the agents; may be repeated."),
    ] = None,
    turns: Annotated[int | None, typer.Option(min=1, help="Model calls an attempt.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="For --method replay: recorded patches.")
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="Name under runs/; made from the options.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="Attempts at a time.")] = None,
    executor: Annotated[
        Literal["local", "ray"] | None, typer.Option(help="Instead of the profile's.")
    ] = None,
    sandbox: Annotated[
        Literal["docker", "process"] | None, typer.Option(help="Instead of the profile's.")
    ] = None,
    early_exit: Annotated[
        bool, typer.Option("--early-exit", help="Stop tests once the verdict is decided.")
    ] = False,
    disk_budget: Annotated[
        str | None,
        typer.Option(help="Build Docker images in batches that fit, and remove old ones: 60GB."),
    ] = None,
    mirrors: Annotated[
        Path | None, typer.Option(help="With --disk-budget: mirrors of the upstream repositories.")
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Use images that `env lint` refuses.")
    ] = False,
    allow_unlocked: Annotated[
        bool, typer.Option("--allow-unlocked", help="Use images that differ from their lock.")
    ] = False,
    test_timeout: Annotated[float, typer.Option(help="Seconds for the tests.")] = 1800.0,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Reuse grades.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show, run nothing.")
    ] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Evaluate methods on a suite. The same command continues an interrupted run.

    \b
    Examples:
      harness eval -m gold -m noop
      harness eval -m chop-deployable -p embedded
      harness eval -m mini -s pypi-mini/test --seeds 3
      harness eval -m mini -s rows.jsonl -p docker --workers 8 --early-exit
      harness eval -m replay --predictions preds.jsonl -s rows.jsonl -p docker
    """
    from harness.rollouts.request import EvalRequest, run_request

    request = EvalRequest(
        methods=tuple(method),
        suite=suite,
        rows=rows,
        profile=profile,
        instances=tuple(instance or ()),
        repos=tuple(repo or ()),
        limit=limit,
        seeds=parse_seeds(seeds),
        model=model,
        adapter=adapter,
        agent_options=tuple(agent_option or ()),
        turns=turns,
        predictions=predictions,
        run_id=run_id,
        runs=runs,
        workers=workers,
        executor=executor,
        disk_budget=disk_budget,
        mirrors=mirrors,
        allow_leaks=allow_leaks,
        allow_unlocked=allow_unlocked,
        sandbox=sandbox,
        early_exit=early_exit,
        test_timeout=test_timeout,
        use_cache=cache,
        command=shlex.join(["harness", *sys.argv[1:]]),
    )
    summary = run_request(request, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(summary, indent=1))


def _say_what_flaked(summary: dict[str, Any], repeat: int) -> None:
    for run in summary["runs"]:
        flaked = run["resolved_by_some_seeds"]
        typer.echo(
            f"{len(flaked)} of {run['instances']} instances changed their verdict in {repeat} "
            f"evaluations of one patch{': ' if flaked else ''}{', '.join(flaked)}",
            err=True,
        )


def grade(
    predictions: Annotated[Path, typer.Argument(help="Official predictions: .jsonl, .json, .gz.")],
    suite: Annotated[str, typer.Option("--suite", "-s", help=_SUITES)],
    rows: Annotated[
        Path | None, typer.Option(help="Local rows of a suite that fixes ids only.")
    ] = None,
    profile: Annotated[str, typer.Option("--profile", "-p", help="embedded, docker.")] = "docker",
    repeat: Annotated[
        int, typer.Option(min=1, help="Grade each so many times, to find flaky tests.")
    ] = 1,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Name under runs/.")] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="At a time.")] = None,
    early_exit: Annotated[
        bool, typer.Option("--early-exit", help="Stop tests once the verdict is decided.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show, run nothing.")
    ] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Grade recorded predictions. What cannot be graded is refused by name, never dropped.

    \b
    Examples:
      harness grade preds.jsonl -s rows.jsonl
      harness grade preds.jsonl -s pypi-mini -p embedded --repeat 5
    """
    from harness.rollouts.request import EvalRequest, run_request

    request = EvalRequest(
        methods=("replay",),
        suite=suite,
        rows=rows,
        profile=profile,
        seeds=tuple(range(repeat)),
        predictions=predictions,
        only_predicted=True,
        refuse_missing_images=True,
        run_id=run_id,
        runs=runs,
        workers=workers,
        early_exit=early_exit,
        use_cache=repeat == 1,
        command=shlex.join(["harness", *sys.argv[1:]]),
    )
    summary = run_request(request, dry_run=dry_run)
    if repeat > 1 and not dry_run:
        _say_what_flaked(summary, repeat)
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
