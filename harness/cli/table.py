"""`harness table`."""

import json
from pathlib import Path
from typing import Annotated

import typer


def table(
    manifest: Annotated[Path, typer.Argument(help="Of an experiment.", show_default=False)],
    root: Annotated[Path, typer.Option(help="Where the runs of the manifest are.")] = Path(),
    audits: Annotated[
        Path | None, typer.Option(help="Folder with a folder for each audit.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file; standard output if none.")] = None,
) -> None:
    """Write an experiment's main table: pass@1, length, and the difference from the baseline.

    \b
    Examples:
      harness table manifests/pipelines/full/report.yaml --root pipelines/full
    """
    from harness.config.load import parse_yaml
    from harness.pipeline.experiment import Experiment
    from harness.pipeline.table import tables

    found = tables(parse_yaml(manifest, Experiment), root, audits)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    draft = out.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(out)
