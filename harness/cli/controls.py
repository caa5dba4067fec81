"""`harness controls`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION
from harness.cli.pipeline import CHANGE, DRY_RUN, JOBS, MANIFEST, OUT, REDO


def controls(
    manifest: MANIFEST,
    out: OUT = None,
    change: CHANGE = None,
    arm: Annotated[list[str] | None, typer.Option(help="Run only this; may be repeated.")] = None,
    jobs: JOBS = 1,
    redo: REDO = None,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Run nothing; report on what is finished.")
    ] = False,
    dry_run: DRY_RUN = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Run control experiments, and compare them in one report. The same command continues.

    \b
    Examples:
      harness controls manifests/pipelines/controls.yaml --dry-run
      harness controls manifests/pipelines/controls.yaml --jobs 2
      harness controls manifests/pipelines/controls.yaml --arm shuffled-pi --arm wrong-repository-pi
    """
    from rich.console import Console

    from harness.pipeline.controls import load_controls, pipeline_of
    from harness.pipeline.controls_report import write_controls
    from harness.pipeline.manifest import expand
    from harness.pipeline.plan import plan_rows, plan_table
    from harness.pipeline.run import run_pipeline

    loaded = load_controls(manifest, change or ())
    folder = out or Path("pipelines") / loaded.name
    wanted = expand(pipeline_of(loaded, arm or ()), manifest, folder)
    if dry_run:
        rows = plan_rows(wanted, folder)
        if as_json:
            typer.echo(json.dumps(rows, indent=1))
        else:
            Console().print(plan_table(rows))
        return
    if not report_only:
        run_pipeline(
            wanted,
            folder,
            at_a_time=jobs,
            redo=redo or (),
            console=Console(stderr=True, soft_wrap=True),
        )
    page = write_controls(loaded, expand(pipeline_of(loaded), manifest, folder), folder / "report")
    typer.echo((folder / "report" / "controls.json").read_text("utf-8") if as_json else page)
