"""`harness pi`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli.common import JSON_OPTION
from harness.cli.environment_options import (
    INSTANCES_OPTION,
    REPOS_OPTION,
    ROWS_OPTION,
    SUITE_OPTION,
)

if TYPE_CHECKING:
    from harness.datagen.pi import Made
    from harness.datagen.pi_sources import PIOptions, View
    from harness.records import Instance
    from pi_extractors.records import PIRecord, SourceName

app = typer.Typer(help="Extract privileged information about instances.", no_args_is_help=True)

_FILE = Annotated[Path, typer.Argument(help="PI records, as `harness pi extract` writes them.")]


@app.command()
def sources(as_json: JSON_OPTION = False) -> None:
    """List the sources: who could have each, its budget, what it is."""
    from harness.datagen.pi_sources import describe_sources

    rows = describe_sources()
    if as_json:
        typer.echo(json.dumps([json.loads(row.model_dump_json()) for row in rows], indent=1))
        return
    for row in rows:
        typer.echo(f"{row.name:<14} {row.tier:<11} {row.budget:>5} tokens  {row.what}")


@app.command()
def extract(
    suite: SUITE_OPTION = "pypi-mini",
    rows: ROWS_OPTION = None,
    instance: INSTANCES_OPTION = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Only these sources; may be repeated.")
    ] = None,
    tier: Annotated[
        Literal["deployable", "oracle"] | None, typer.Option(help="Only sources of this tier.")
    ] = None,
    view: Annotated[
        Literal["repair"] | None,
        typer.Option(help="repair: short texts for the repair agent's models, on its suites."),
    ] = None,
    repos: REPOS_OPTION = None,
    releases: Annotated[
        bool,
        typer.Option(
            "--releases", help="Use a release of the package where no base commit is at hand."
        ),
    ] = False,
    questions: Annotated[
        Path | None, typer.Option(help="A mathematical suite (JSONL) instead of instances.")
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(help="Tokens of a source: gold_patch=1024.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A tokenizer.json to count with; default: an estimate.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the records go.")] = Path("pi.jsonl"),
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Reuse records.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say where snapshots come from, extract nothing.")
    ] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Extract PI into a file of records. The same command continues an interrupted extraction.

    \b
    Examples:
      harness pi extract -s pypi-mini/train --tier deployable --out pi.jsonl
      harness pi extract -s pypi-edits/train --view repair --out repair-pi.jsonl
      harness pi extract -s rows.jsonl --repos ~/mirrors --workers 4
      harness pi extract --questions aime.jsonl --out answers.jsonl
    """
    from harness.cli.environment_options import select_instances
    from harness.datagen.pi import extract_answers, plan
    from harness.datagen.pi_sources import PIOptions

    options = PIOptions(
        sources=_chosen(source, tier, view, answers=questions is not None),
        view=view,
        budgets=_budgets(budget),
        tokenizer=tokenizer,
        repos=repos,
        releases=releases,
        use_cache=cache,
    )
    if questions is not None:
        made = extract_answers(questions, options, out)
        typer.echo(f"{made} records in {out}")
        return
    instances = select_instances(suite, rows, instance)
    if dry_run:
        _show(list(plan(instances, options)), as_json=as_json)
        return
    results = _run(instances, options, out, workers)
    _show(results, as_json=as_json)
    if any(result.problems for result in results):
        raise typer.Exit(1)


@app.command()
def exchange(
    file: _FILE,
    out: Annotated[Path, typer.Option(help="A new file of records.")],
    suite: SUITE_OPTION = "pypi-mini",
    rows: ROWS_OPTION = None,
    seed: Annotated[int, typer.Option(help="Who gets whose.")] = 0,
    across: Annotated[
        Literal["instances", "repositories"],
        typer.Option(help="Whose PI: of any other instance, or of one of another repository."),
    ] = "instances",
) -> None:
    """Give every instance of a suite the PI of another one: a control of what PI says.

    \b
    Examples:
      harness pi exchange pi.jsonl -s pypi-edits/test --out shuffled.jsonl
      harness pi exchange pi.jsonl -s pypi-edits/test --across repositories --out wrong.jsonl
    """
    from harness.cli.environment_options import select_instances
    from harness.datagen.exchange import exchanged
    from harness.datagen.pi_file import RecordFile, read_records

    if out.exists():
        raise typer.BadParameter(f"{out} exists; name another file or remove it")
    repositories = {one.instance_id: one.repo for one in select_instances(suite, rows, None)}
    found = exchanged(read_records(file), repositories, seed, across)
    with RecordFile.open(out) as records:
        for record in found:
            records.add(record)
        records.finish(repositories)
    typer.echo(f"{len(found)} records of {len(repositories)} instances in {out}")


@app.command()
def show(
    file: _FILE,
    instance: Annotated[str, typer.Option("--instance", "-i", help="The instance or question.")],
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Show the PI of one instance as a model reads it."""
    from harness.datagen.pi_file import read_records

    wanted = _source(source) if source else None
    found = [
        record
        for record in read_records(file)
        if record.instance_id == instance and wanted in (None, record.source)
    ]
    if not found:
        raise typer.BadParameter(f"{file} has no such record of {instance}", param_hint="-i")
    if as_json:
        typer.echo(json.dumps([json.loads(one.model_dump_json()) for one in found], indent=1))
        return
    for record in found:
        typer.echo(_title(record))
        typer.echo(record.text or "(empty)")


@app.command()
def stats(
    file: _FILE,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A tokenizer.json: how far off the counts are from it.")
    ] = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Token lengths by source, and how many records are empty, cut or incomplete."""
    from harness.datagen.pi_file import read_records
    from harness.datagen.pi_stats import pi_stats
    from pi_extractors.tokens import TokenizerFile

    rows = pi_stats(read_records(file), TokenizerFile(tokenizer) if tokenizer else None)
    if as_json:
        typer.echo(json.dumps([json.loads(row.model_dump_json()) for row in rows], indent=1))
        return
    heads = ("source", "tier", "records", "p10", "median", "p90", "empty", "cut", "skipped")
    typer.echo("{:<14} {:<11} {:>7} {:>6} {:>6} {:>6} {:>6} {:>5} {:>8}".format(*heads))
    for row in rows:
        typer.echo(
            f"{row.source:<14} {row.tier:<11} {row.records:>7} {row.p10:>6.0f} {row.median:>6.0f} "
            f"{row.p90:>6.0f} {row.empty:>6} {row.truncated:>5} {row.with_skipped:>8}"
        )
    for row in rows:
        if row.error_median is not None:
            typer.echo(
                f"{row.source}: median error {row.error_median:+.1%}, "
                f"absolute error under {row.error_p90:.1%} in 90 % of texts"
            )
    counted = sorted({name for row in rows for name in row.tokenizers})
    typer.echo(f"tokens as {', '.join(counted) or 'nothing'} counts; percentiles of texts")


def _run(
    instances: "list[Instance]", options: "PIOptions", out: Path, workers: int
) -> "list[Made]":
    from harness.datagen.pi import extract_suite
    from harness.rollouts.progress import ProgressLine, make_console

    console = make_console()
    with ProgressLine("PI", len(instances), console=console) as progress:

        def advance(made: "Made") -> None:
            for problem in made.problems:
                console.print(problem, highlight=False, markup=False, soft_wrap=True)
            progress.advance(made.instance_id)

        return extract_suite(instances, options, out, workers=workers, on_made=advance)


def _show(results: "list[Made]", *, as_json: bool) -> None:
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "instance_id": one.instance_id,
                "made": [record.source for record in one.records],
                "kept": one.kept,
                "origin": one.origin,
                "problems": one.problems,
            }
            for one in results
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    origins: dict[str, int] = {}
    for one in results:
        origins[one.origin or "no snapshot"] = origins.get(one.origin or "no snapshot", 0) + 1
    for origin, number in sorted(origins.items()):
        typer.echo(f"{number:>5} {origin}")
    made = sum(len(one.records) for one in results)
    failed = sum(bool(one.problems) for one in results)
    typer.echo(
        f"{len(results)} instances: {made} records made, "
        f"{sum(one.kept for one in results)} kept, {failed} instances with problems"
    )


def _title(record: "PIRecord") -> str:
    cut = ", cut" if record.truncated else ""
    step = "" if record.step is None else f", step {record.step}"
    notes = "".join(f"\n   {note}" for note in record.provenance.notes)
    return (
        f"── {record.source} ({record.tier}{step}): {record.tokens} of {record.budget} tokens"
        f"{cut}{notes}"
    )


def _chosen(
    names: list[str] | None, tier: str | None, view: "View | None", *, answers: bool
) -> "tuple[SourceName, ...]":
    from harness.datagen.pi_sources import INSTANCE_SOURCES, VIEW_SOURCES
    from pi_extractors.records import TIERS, SourceName

    if answers:
        return (SourceName.GOLD_ANSWER,)
    sources = VIEW_SOURCES[view] if view else INSTANCE_SOURCES
    wanted = {_source(name) for name in names or sources}
    chosen = tuple(name for name in sources if name in wanted and tier in (None, TIERS[name]))
    if not chosen or wanted - set(sources):
        fitting = [name for name in sources if tier in (None, TIERS[name])]
        raise typer.BadParameter(f"choose among {', '.join(fitting)}", param_hint="--source")
    return chosen


def _source(name: str) -> "SourceName":
    from pi_extractors.records import SourceName

    try:
        return SourceName(name)
    except ValueError:
        raise typer.BadParameter(
            f"no source {name!r}, only {', '.join(SourceName)}", param_hint="--source"
        ) from None


def _budgets(given: list[str] | None) -> "dict[SourceName, int]":
    budgets = {}
    for text in given or []:
        name, _, tokens = text.partition("=")
        if not tokens.isdecimal():
            raise typer.BadParameter(f"{text!r}: give SOURCE=TOKENS", param_hint="--budget")
        budgets[_source(name)] = int(tokens)
    return budgets
