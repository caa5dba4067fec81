"""`harness report`."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of runs.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: the first run's report/.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Default: the first folder's name.")] = None,
) -> None:
    """Write one self-contained HTML report over one or several runs, finished or not.

    \b
    Examples:
      harness report runs/demo
      harness report runs/a runs/b -o a-and-b.html
    """
    from rich.console import Console

    from harness.records import find_runs
    from harness.reports.html import write_report
    from harness.reports.markdown import summary_table

    folders = [folder for path in runs for folder in find_runs(path)]
    destination = output or runs[0] / "report" / "index.html"
    write_report(folders, destination, title=title or runs[0].resolve().name)
    Console(stderr=True).print(summary_table(folders))
    typer.echo(str(destination))
