"""`harness env`."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.common import JSON_OPTION

SandboxKind = Literal["docker", "process"]

app = typer.Typer(help="Build the images that instances run in.", no_args_is_help=True)


@app.command()
def build(
    suite: Annotated[str, typer.Option("--suite", "-s", help="A shipped suite, file or hub id.")],
    rows: Annotated[
        Path | None, typer.Option(help="Local rows of a suite that fixes ids only.")
    ] = None,
    repos: Annotated[
        Path | None,
        typer.Option(help="Folder with local mirrors of the upstream repositories."),
    ] = None,
    instance: Annotated[
        list[str] | None, typer.Option("--instance", "-i", help="Only these ids.")
    ] = None,
    sandbox: Annotated[SandboxKind, typer.Option(help="What the images are for.")] = "docker",
    force: Annotated[bool, typer.Option("--force", help="Build again what is there.")] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Build images from recipes: from mirrors of the upstream history, or from pinned sdists.

    Docker images are tagged as upstream tags them. What is there already is kept.

    \b
    Examples:
      harness env build -s rows.jsonl --repos ~/mirrors -i psf__requests-6028
      harness env build -s pypi-mini/test
      harness env build -s pypi-mini --sandbox process
    """
    from harness.environments.images import build_all
    from harness.suites.load import load_suite
    from harness.suites.select import select

    instances = select(load_suite(suite, rows=rows).instances, ids=instance or [])
    results = build_all(
        instances,
        kind=sandbox,
        repos=repos,
        force=force,
        on_progress=lambda line: typer.echo(line, err=True),
    )
    failed = [result for result in results if result.status == "failed"]
    if as_json:
        typer.echo(json.dumps([result.model_dump() for result in results], indent=1))
    else:
        for result in results:
            detail = result.error or f"{result.seconds:.1f} s  {result.digest[:19]}"
            typer.echo(f"{result.status:<8} {result.instance_id:<40} {detail}")
        typer.echo(f"{len(results) - len(failed)} of {len(results)} images are there")
    if failed:
        raise typer.Exit(1)
