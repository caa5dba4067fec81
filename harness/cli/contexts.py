"""`harness datagen contexts`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.common import JSON_OPTION
from harness.cli.environment_options import REPOS_OPTION


def contexts(
    runs: Annotated[list[Path], typer.Argument(help="Runs whose attempts are trained on.")],
    pi: Annotated[Path, typer.Option(help="Of `harness pi extract`.")],
    out: Annotated[Path, typer.Option(help="A new Parquet file.")],
    source: Annotated[
        list[str] | None, typer.Option(help="Only these PI sources; may be repeated.")
    ] = None,
    shuffle: Annotated[
        int | None,
        typer.Option(help="Seed: give every instance the PI of another one, as a control."),
    ] = None,
    across: Annotated[
        Literal["instances", "repositories"],
        typer.Option(help="With --shuffle: whose, of any other or of another repository."),
    ] = "instances",
    repos: REPOS_OPTION = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Write the PI of every turn of runs' attempts, as `pi.contexts` of a training names it.

    \b
    Examples:
      harness datagen contexts runs/student-0 --pi pi.jsonl --out contexts.parquet
      harness datagen contexts runs/student-0 --pi pi.jsonl --shuffle 1 --out shuffled.parquet
      harness datagen contexts runs/s --pi pi.jsonl --shuffle 1 --across repositories --out w.pq
    """
    from harness.datagen.contexts import make_contexts
    from harness.datagen.snapshots import Snapshots
    from harness.datagen.triples_pi import PITexts
    from harness.environments.known_recipes import known_recipes
    from harness.records.cache import cache_root
    from pi_extractors.records import SourceName
    from pi_extractors.tokens import Estimate

    for name in source or ():
        if name not in set(SourceName):
            raise typer.BadParameter(f"{name!r}: one of {', '.join(SourceName)}")
    recipes = known_recipes()
    snapshots = Snapshots(repos=repos, recipes=recipes, cache=cache_root())
    chosen = [SourceName(name) for name in source] if source else None
    texts = PITexts(pi, chosen, snapshots, Estimate())
    try:
        report = make_contexts(runs, texts, out, shuffle=shuffle, across=across)
    finally:
        texts.close()
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    for name, count in report.rows.items():
        empty, missing = report.empty.get(name, 0), report.missing.get(name, 0)
        typer.echo(f"{name}: {count} rows, {empty} of them empty; {missing} turns have no PI")
    for problem in report.problems.values():
        typer.echo(problem, err=True)
    typer.echo(f"{report.turns} turns of {report.attempts} attempts: {out}")
