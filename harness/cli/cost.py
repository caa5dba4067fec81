"""`harness cost`."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


def cost(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A configuration of `harness train omniopd`, or the folder that it wrote.",
            show_default=False,
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the configuration."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what a text teacher will cost, or did cost. Without a path: the table of the paper.

    \b
    Examples:
      harness cost
      harness cost omniopd.yaml --set method.chunks=5
      harness cost trained/omniopd --json
    """
    if find_spec("torch") is None:
        raise typer.BadParameter("costs need the tokenisers: pip install 'swe-harness[train]'")
    command = [sys.executable, "-m", "trainers.cost"]
    command += [] if path is None else [str(path)]
    for one in change or []:
        command += ["--set", one]
    code = subprocess.run([*command, *["--json"] * as_json], check=False).returncode
    if code:
        raise typer.Exit(code if code > 0 else 128 - code)
