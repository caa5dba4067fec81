"""`harness leakage`."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import leakage_audit, leakage_plant
from harness.cli.common import JSON_OPTION

app = typer.Typer(
    help="Keep evaluation out of training and solutions away from students.", no_args_is_help=True
)
app.command("audit")(leakage_audit.audit)
app.command("plant")(leakage_plant.plant)

_SHOWN = 20
_ROWS = "Local rows of a suite that fixes ids only."


@app.command("filter")
def filter_(
    train: Annotated[str, typer.Option(help="Training suite: a shipped name, a file, a hub id.")],
    evaluation: Annotated[str, typer.Option("--evaluation", "-e", help="Evaluation suite.")],
    train_split: Annotated[
        str | None, typer.Option(help="Of a hub dataset; `train` for most.")
    ] = None,
    evaluation_split: Annotated[str | None, typer.Option(help="Of a hub dataset.")] = None,
    evaluation_rows: Annotated[Path | None, typer.Option(help=_ROWS)] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Reject every repository of the evaluation.")
    ] = False,
    own_rules: Annotated[
        bool, typer.Option(help="Reject equal instance ids and gold patches too.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="Folder for kept.jsonl, rejected.jsonl, filter.json.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Reject training rows that share a base commit or a touched path with evaluation.

    Each rejected row has one reason: the rule, the evaluation instance, the commit or path.

    \b
    Examples:
      harness leakage filter --train pypi-mini/train -e pypi-mini/test --dry-run
      harness leakage filter --train train.parquet -e verified.jsonl --out filtered
      harness leakage filter --train SWE-bench/SWE-bench --train-split train \\
        -e swe-bench-verified --strict --out filtered
    """
    from harness.leakage.filter import MANIFEST, filter_rows, write_filtered
    from harness.leakage.filter_rows import open_rows

    if (out is None) != dry_run:
        raise typer.BadParameter("name a folder, or say --dry-run", param_hint="--out")
    rows = open_rows(train, split=train_split)
    asked = open_rows(evaluation, split=evaluation_split, rows=evaluation_rows)
    manifest = filter_rows(rows, asked, strict=strict, own_rules=own_rules)
    if out is not None:
        write_filtered(rows, manifest, out)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=1))
        return
    for one in manifest.rejected[:_SHOWN]:
        clash = f" {one.evaluation_instance}" if one.evaluation_instance else ""
        typer.echo(f"{one.instance_id or f'row {one.row}'}: {one.rule}{clash}: {one.evidence}")
    if len(manifest.rejected) > _SHOWN:
        typer.echo(f"… and {len(manifest.rejected) - _SHOWN} more")
    for fork in manifest.forks:
        typer.echo(f"{fork.repo} taken for {fork.of}: both have the commit {fork.commit}")
    counts = ", ".join(f"{rule} {count}" for rule, count in manifest.by_rule.items() if count)
    typer.echo(
        f"{manifest.kept_rows} of {manifest.train.rows} rows kept, {manifest.rejected_rows} "
        f"rejected{f' ({counts})' if counts else ''}; "
        f"{'strict' if strict else 'standard'}, against {manifest.evaluation.rows} instances"
    )
    if out is not None:
        typer.echo(str(out / MANIFEST))
