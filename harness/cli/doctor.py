"""`harness doctor`."""

import json
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION


def doctor(
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="What the machine is to be used for.")
    ] = "embedded",
    as_json: JSON_OPTION = False,
) -> None:
    """Say what this machine lacks for a profile, and the command that mends it.

    \b
    Examples:
      harness doctor
      harness doctor -p docker
    """
    from harness.config import load_profile
    from harness.rollouts.doctor import examine

    checks = examine(load_profile(profile))
    if as_json:
        typer.echo(json.dumps([check.model_dump() for check in checks], indent=1))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            typer.echo(f"{check.status:>7}  {check.name:<{width}}  {check.found}")
            if check.mend:
                typer.echo(f"{'':>7}  {'':<{width}}  → {check.mend}")
    if any(check.status == "missing" for check in checks):
        raise typer.Exit(1)
