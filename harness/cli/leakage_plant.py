"""`harness leakage plant`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION


def plant(
    suite: Annotated[str, typer.Argument(help="A shipped name, a file, or a hub dataset.")],
    out: Annotated[Path, typer.Option(help="Folder for instances.jsonl and ledger.json.")],
    rows: Annotated[
        Path | None, typer.Option(help="Local rows of a suite that fixes ids only.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of a hub dataset.")] = None,
    seed: Annotated[
        str | None,
        typer.Option(help="64 hex digits, to plant the same again; else drawn. A secret."),
    ] = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Copy a suite with a canary in every oracle field, to see whether one reaches a student.

    Use the copy in place of the suite: it runs and grades as before. Then give the ledger to the
    audit. Whoever has the ledger can tell canaries from other text; keep it from students.

    \b
    Examples:
      harness leakage plant pypi-mini --out planted
      harness eval -s planted/instances.jsonl -m mini --run-id student
      harness leakage audit -e planted/instances.jsonl --run runs/student \\
        --ledger planted/ledger.json
    """
    from harness.leakage.canaries_plant import summary, write_copy
    from harness.leakage.ledger import LedgerError
    from harness.suites.load import load_suite

    loaded = load_suite(suite, split=split, rows=rows, strict=False)
    try:
        ledger, paths = write_copy(loaded, out, seed=seed)
    except (FileExistsError, LedgerError) as error:
        raise typer.BadParameter(str(error)) from None
    counts = summary(ledger)
    if as_json:
        shown = {"rows": str(paths.rows), "ledger": str(paths.ledger), "fields": counts}
        typer.echo(json.dumps(shown | {"refused": [row.text for row in loaded.refused]}, indent=1))
        return
    for row in loaded.refused:
        typer.echo(f"left out: {row.text}", err=True)
    for field, ways in counts.items():
        said = ", ".join(f"{count} {how.replace('_', ' ')}" for how, count in ways.items())
        typer.echo(f"{field:<14} {said or 'nothing'}")
    typer.echo(f"{len(ledger.planted)} canaries in {len(loaded.instances)} instances: {paths.rows}")
    typer.echo(f"secret: {paths.ledger}")
