"""`harness datagen trajectories` and `trajectories-verify`."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION


def trajectories(
    runs: Annotated[list[Path], typer.Argument(help="Graded runs of `harness eval`.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    filter_manifest: Annotated[
        Path | None, typer.Option("--filter", help="filter.json of `harness leakage filter`.")
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option("--evaluation", "-e", help="Or the suite to keep away from.")
    ] = None,
    evaluation_rows: Annotated[
        Path | None, typer.Option(help="Local rows of a suite that fixes ids only.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --evaluation: no repository of it.")
    ] = False,
    no_filter: Annotated[
        bool, typer.Option("--no-filter", help="Filter nothing; the card says so.")
    ] = False,
    per_instance: Annotated[
        int, typer.Option(min=1, help="At most so many SFT attempts of an instance.")
    ] = 4,
    pairs: Annotated[
        int, typer.Option(min=1, help="At most so many preference pairs of an instance.")
    ] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count; write nothing.")] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Make a data set of graded attempts: outcomes, exact tokens, SFT rows, preference pairs.

    Attempts are made by `harness eval --seeds N`, with any method. Each attempt and each model
    call that is no row is counted with its reason in manifest.json.

    \b
    Examples:
      harness eval -m openhands -p docker -s train.jsonl --seeds 4 --run-id rollout
      harness datagen trajectories runs/rollout -e swe-bench-verified --out set
      harness datagen trajectories runs/rollout --filter filtered/filter.json --out set --dry-run
    """
    from harness.datagen.trajectories import make_trajectories
    from harness.datagen.triples_gate import make_gate
    from harness.rollouts.progress import make_console

    gate = make_gate(
        filter_manifest, evaluation, strict=strict, waived=no_filter, rows=evaluation_rows
    )
    report = make_trajectories(
        runs,
        gate,
        out,
        per_instance=per_instance,
        pairs_per_instance=pairs,
        dry_run=dry_run,
        console=make_console(),
    )
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    left = ", ".join(f"{reason} {count}" for reason, count in report.left_out.items())
    typer.echo(
        f"{report.attempts} of {report.found} attempts ({report.resolved} resolved, "
        f"{report.duplicates} duplicates); left out: {left or 'none'}"
    )
    for name, one in report.configs.items():
        typer.echo(f"{name}: {one.rows} rows")
    typer.echo("nothing was written" if dry_run else str(out / "README.md"))


def verify(
    folder: Annotated[Path, typer.Argument(help="Of `harness datagen trajectories`.")],
    runs: Annotated[list[Path], typer.Argument(help="The runs that it was made from.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="tokenizer.json of the model: compare texts too.")
    ] = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Check every row's tokens against the runs' records of model calls.

    \b
    Example:
      harness datagen trajectories-verify set runs/rollout --tokenizer models/student/tokenizer.json
    """
    from harness.datagen.trajectories_verify import verify_trajectories
    from harness.rollouts.progress import make_console

    report = verify_trajectories(folder, runs, tokenizer=tokenizer, console=make_console())
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        for name, rows in report.rows.items():
            typer.echo(f"{name}: {rows} rows compared")
        typer.echo(
            f"{report.tokens} sampled tokens and {report.log_probs} log-probabilities in turns; "
            f"texts: {report.texts_equal} equal, {report.texts_not_compared} not compared"
        )
        for problem in report.problems:
            typer.echo(problem, err=True)
        typer.echo("exact" if not report.wrong else f"{report.wrong} wrong")
    if report.wrong:
        raise typer.Exit(1)
