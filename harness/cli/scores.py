"""`harness compare` and `harness plan`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two runs or more, or a folder of runs.")],
    as_json: JSON_OPTION = False,
) -> None:
    """Compare runs on the same instances: paired bootstrap, McNemar, Holm over all pairs.

    \b
    Examples:
      harness compare runs/base runs/trained
      harness compare runs/demo --json
    """
    from harness.records import find_runs
    from harness.rollouts.finish import load_scored
    from harness.scoring.compare import compare_family
    from harness.scoring.render import comparison_table

    folders = [folder for path in runs for folder in find_runs(path)]
    if len(folders) < 2:
        raise typer.BadParameter("name at least two runs, or a folder with several")
    family = compare_family({folder.root.name: load_scored(folder) for folder in folders})
    if as_json:
        typer.echo(json.dumps([json.loads(one.model_dump_json()) for one in family], indent=1))
        return
    from rich.console import Console

    Console().print(comparison_table(family))


