"""`harness datagen`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import contexts, edit_bugs, instances, repairs, routes, trajectories, triples
from harness.cli.common import JSON_OPTION

app = typer.Typer(help="Make instances and training rows.", no_args_is_help=True)
app.command("triples")(triples.triples)
app.command("trajectories")(trajectories.trajectories)
app.command("trajectories-verify")(trajectories.verify)
app.command("contexts")(contexts.contexts)
app.command("edits")(edit_bugs.edits)
app.command("instances")(instances.instances)
app.command("repairs")(repairs.repairs)
app.command("route")(routes.route)


@app.command()
def suite(
    folder: Annotated[
        Path, typer.Argument(help="The authored suite, e.g. manifests/suites/pypi-mini.")
    ],
    repeat: Annotated[int, typer.Option(min=1, help="Test runs without and with the fix.")] = 3,
    workers: Annotated[int, typer.Option(min=1, help="Instances at a time.")] = 2,
    as_json: JSON_OPTION = False,
) -> None:
    """Build a suite's rows and manifest from authored bugs, by really running the tests.

    \b
    Example:
      harness datagen suite manifests/suites/pypi-mini
    """
    from harness.datagen.suite import build_suite
    from harness.environments.recipe import load_recipes
    from harness.records.cache import cache_root
    from harness.sandboxes import make_provider
    from harness.suites.manifests import manifests_root

    results = build_suite(
        folder,
        recipes=load_recipes(manifests_root() / "environments"),
        provider=make_provider("process"),
        cache=cache_root(),
        repeat=repeat,
        workers=workers,
        on_progress=lambda line: typer.echo(line, err=True),
    )
    failed = [result for result in results if result.problem]
    if as_json:
        typer.echo(json.dumps([json.loads(one.model_dump_json()) for one in results], indent=1))
    else:
        for result in failed:
            typer.echo(f"{result.instance_id}: {result.problem}")
        typer.echo(f"{len(results) - len(failed)} of {len(results)} instances hold")
    if failed:
        typer.echo("nothing was written: mend or remove these first", err=True)
        raise typer.Exit(1)
