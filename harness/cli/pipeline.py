"""`harness pipeline`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION

MANIFEST = Annotated[Path, typer.Argument(help="A YAML file.", show_default=False)]
OUT = Annotated[Path | None, typer.Option(help="Folder for everything it makes; pipelines/<name>.")]
CHANGE = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value; may be repeated."),
]
JOBS = Annotated[int, typer.Option(min=1, help="Jobs at a time.")]
REDO = Annotated[
    list[str] | None,
    typer.Option(help="Put this stage's results aside, and all after it; may be repeated."),
]
DRY_RUN = Annotated[
    bool, typer.Option("--dry-run", help="Show jobs, where they stand, and what they take.")
]


def pipeline(
    manifest: MANIFEST,
    out: OUT = None,
    change: CHANGE = None,
    values: Annotated[
        list[Path] | None, typer.Option(help="A YAML file of changed values; may be repeated.")
    ] = None,
    jobs: JOBS = 1,
    stage: Annotated[
        list[str] | None, typer.Option(help="Only this stage; may be repeated.")
    ] = None,
    redo: REDO = None,
    dry_run: DRY_RUN = False,
    short_of_disk: Annotated[
        bool, typer.Option("--short-of-disk", help="Start although the disk is too small.")
    ] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Run the stages of a manifest in their order. The same command continues where it stopped.

    \b
    Examples:
      harness pipeline manifests/pipelines/embedded.yaml --dry-run
      harness pipeline manifests/pipelines/embedded.yaml --jobs 2
      harness pipeline manifests/pipelines/embedded.yaml --redo report
      harness pipeline manifests/pipelines/full.yaml --dry-run
      harness pipeline manifests/pipelines/full.yaml --values manifests/pipelines/full/small.yaml
    """
    from rich.console import Console

    from harness.pipeline.cost import assumption_table, cost_table, stage_costs
    from harness.pipeline.load import load_pipeline
    from harness.pipeline.manifest import expand
    from harness.pipeline.plan import plan_rows, plan_table
    from harness.pipeline.run import run_pipeline
    from harness.pipeline.state import State

    loaded = load_pipeline(manifest, change or (), values or ())
    folder = out or Path("pipelines") / loaded.name
    expanded = expand(loaded, manifest, folder)
    console = Console(stderr=True, soft_wrap=True)
    if loaded.assumptions and not as_json:
        console.print(assumption_table(loaded.assumptions))
    if not dry_run:
        run_pipeline(
            expanded,
            folder,
            at_a_time=jobs,
            only=stage or (),
            redo=redo or (),
            short_of_disk=short_of_disk,
            console=console,
        )
    rows = plan_rows(expanded, folder)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    Console().print(plan_table(rows))
    if dry_run and loaded.assumptions:
        Console().print(cost_table(stage_costs(expanded, State(folder, expanded)), folder))
