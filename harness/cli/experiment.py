"""`harness experiment`."""

from pathlib import Path
from typing import Annotated

import typer


def experiment(
    manifest: Annotated[Path, typer.Argument(help="A YAML file.", show_default=False)],
    root: Annotated[Path, typer.Option(help="Where the runs of the manifest are.")] = Path(),
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("report"),
) -> None:
    """Report on an experiment: pass@1, paired differences, gap recovery, mechanism tables.

    \b
    Examples:
      harness experiment manifests/pipelines/embedded-report.yaml --root pipelines/embedded
    """
    from harness.config.load import parse_yaml
    from harness.pipeline.experiment import Experiment
    from harness.pipeline.experiment_page import write_experiment

    typer.echo(write_experiment(parse_yaml(manifest, Experiment), root, out))
