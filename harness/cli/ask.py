"""`harness ask`."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION, parse_seeds


def ask(
    suite: Annotated[
        str | None,
        typer.Argument(
            help="A shipped question suite (aime-2024, sample-math), one's own mapping (YAML), or "
            "a JSONL/Parquet file.",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="Local rows of a named suite, in its public columns.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of the hub dataset; default: as shipped.")] = (
        None
    ),
    profile: Annotated[str, typer.Option("--profile", "-p", help="embedded, docker.")] = "embedded",
    model: Annotated[
        str | None, typer.Option(help="Model: a shipped name, a folder, a hub or endpoint id.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="LoRA adapter of the model: shipped, or a folder.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Answers to a question: how many (4: 0 to 3), or a list (0,7).")
    ] = "1",
    question: Annotated[
        list[str] | None, typer.Option("--question", "-q", help="Only these ids.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many questions.")] = None,
    sample: Annotated[
        int | None, typer.Option(help="With --limit: a random choice by this seed, not the first.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="Sampling.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Sampling.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of one answer.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Wall clock of one answer.")] = None,
    test_seconds: Annotated[
        float, typer.Option(help="Wall clock of all tests of one program.")
    ] = 300.0,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="Name under runs/; made from the options.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="Answers at a time.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show, ask nothing.")
    ] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Ask a model questions of mathematics or programming, and score its answers (avg@k).

    Without a suite: list the shipped ones. The same command continues an interrupted run.

    \b
    Examples:
      harness ask
      harness ask sample-math --seeds 4
      harness ask aime-2024 -p docker --seeds 16 --temperature 1 --max-tokens 32768 --seconds 3600
      harness ask taco --rows taco-test.parquet -p docker --limit 100 --sample 0
    """
    if suite is None:
        _list(as_json)
        return
    from harness.rollouts.ask import AskRequest, run_ask

    request = AskRequest(
        suite=suite,
        rows=rows,
        split=split,
        profile=profile,
        model=model,
        adapter=adapter,
        seeds=parse_seeds(seeds),
        questions=tuple(question or ()),
        limit=limit,
        sample=sample,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        seconds=seconds,
        test_seconds=test_seconds,
        run_id=run_id,
        runs=runs,
        workers=workers,
        command=shlex.join(["harness", *sys.argv[1:]]),
    )
    summary = run_ask(request, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(summary, indent=1))


def _list(as_json: bool) -> None:
    from harness.questions.manifest import load_question_suite, question_suites

    suites = [load_question_suite(name) for name in question_suites()]
    if as_json:
        typer.echo(json.dumps([json.loads(one.model_dump_json()) for one in suites], indent=1))
        return
    for one in suites:
        where = one.dataset or "shipped"
        typer.echo(f"{one.name:<20} {one.kind}  {where}: {one.title}")
