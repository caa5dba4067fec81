"""`harness suites`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION

app = typer.Typer(help="List, show and validate suites of instances.", no_args_is_help=True)

_ROWS = Annotated[Path | None, typer.Option(help="Local rows of a suite that fixes ids only.")]


@app.command("list")
def list_suites(as_json: JSON_OPTION = False) -> None:
    """List the shipped suites."""
    from harness.suites.manifests import load_manifest, suite_names

    manifests = [load_manifest(name) for name in suite_names()]
    if as_json:
        typer.echo(json.dumps([json.loads(one.model_dump_json()) for one in manifests], indent=1))
        return
    for manifest in manifests:
        splits = ", ".join(f"{name} {len(ids)}" for name, ids in manifest.splits.items())
        typer.echo(f"{manifest.name}: {manifest.title} ({splits}; licence {manifest.licence})")


@app.command()
def show(
    suite: Annotated[str, typer.Argument(help="A suite, or suite/split.")],
    instance: Annotated[str | None, typer.Argument(help="One instance: show it whole.")] = None,
    rows: _ROWS = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Show a suite's instances, or one of them.

    \b
    Examples:
      harness suites show pypi-mini/test
      harness suites show rows.jsonl psf__requests-6028
    """
    from harness.suites.flaky import load_flaky
    from harness.suites.load import load_suite
    from harness.suites.select import select

    loaded = load_suite(suite, rows=rows)
    chosen = select(loaded.instances, ids=[instance] if instance else [])
    if as_json:
        typer.echo(json.dumps([json.loads(one.model_dump_json()) for one in chosen], indent=1))
        return
    if instance:
        for name, value in chosen[0].model_dump(exclude_none=True).items():
            typer.echo(f"── {name}\n{value}")
        return
    flaky = load_flaky()
    for one in chosen:
        note = f"  [{flaky[one.id].kind}]" if one.id in flaky else ""
        kind = one.difficulty or "–"
        typer.echo(
            f"{one.instance_id:<45} {kind:<20} {len(one.FAIL_TO_PASS):>4} FAIL_TO_PASS "
            f"{len(one.PASS_TO_PASS):>5} PASS_TO_PASS{note}"
        )
    typer.echo(f"{len(chosen)} instances, {len(loaded.refused)} rows refused, {loaded.sha256}")


@app.command()
def validate(
    suite: Annotated[str, typer.Argument(help="A shipped suite, a file, or a hub id.")],
    rows: _ROWS = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Recompute digests and validate every row; exit code 1 when something is wrong."""
    from harness.suites.check import validate_suite

    check = validate_suite(suite, rows=rows)
    if as_json:
        typer.echo(check.model_dump_json(indent=1))
    else:
        for row in check.refused:
            typer.echo(row.text, err=True)
        what = "rows" if check.rows_read else "ids"
        typer.echo(
            f"{check.name}: {check.instances} instances ({check.gradable} gradable), "
            f"{len(check.refused)} refused, SHA-256 of the {what} {check.sha256}"
        )
    if not check.ok:
        raise typer.Exit(1)
