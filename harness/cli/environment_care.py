"""`harness env lint` and `harness env prune`."""

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.common import JSON_OPTION
from harness.cli.environment_options import (
    INSTANCES_OPTION,
    KIND_OPTION,
    ROWS_OPTION,
    SUITE_OPTION,
    select_instances,
)

if TYPE_CHECKING:
    from harness.environments.prune import Item


def lint(
    suite: SUITE_OPTION,
    rows: ROWS_OPTION = None,
    instance: INSTANCES_OPTION = None,
    sandbox: KIND_OPTION = "docker",
    egress: Annotated[
        bool, typer.Option("--egress/--no-egress", help="Try the network from a sandbox, too.")
    ] = True,
    fresh: Annotated[bool, typer.Option("--fresh", help="Look again at what is known.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings, too.")] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Look through images for anything later than the base commit, and for a way out.

    Git objects, refs and settings; clones, packs and bundles anywhere; other copies of the
    project, archives included; the lines that the gold and test patches add. An error refuses an
    image (eval and grade do, too); a warning shows nothing of the fix. Exit code 1 on errors.

    \b
    Examples:
      harness env lint -s rows.jsonl -i psf__requests-6028
      harness env lint -s pypi-mini --sandbox process --json
    """
    from harness.environments.images import present_images
    from harness.environments.lint.egress import probe_egress
    from harness.environments.lint.lint import lint_image
    from harness.sandboxes import make_provider

    instances = select_instances(suite, rows, instance)
    images = present_images(instances, sandbox)
    absent = [each.instance_id for each in instances if each.instance_id not in images]
    provider = make_provider(sandbox) if egress and images else None
    reports = []
    for each in instances:
        if each.instance_id in absent:
            continue
        report = lint_image(each, images[each.instance_id], sandbox, fresh=fresh)
        if provider is not None:
            found = tuple(probe_egress(provider, report.image))
            report = report.model_copy(update={"findings": report.findings + found})
        reports.append(report)
        if not as_json:
            status = "errors" if report.errors else "warnings" if report.findings else "clean"
            typer.echo(f"{status:<9} {report.instance_id:<40} {report.seconds:.1f} s")
            for finding in report.findings:
                extra = " ".join(part for part in (finding.object, finding.line) if part)
                typer.echo(f"  {finding.severity:<8} {finding.rule:<14} {finding.path}")
                typer.echo(f"           {finding.detail}{f': {extra}' if extra else ''}")
                if finding.reproduce:
                    typer.echo(f"           see: {finding.reproduce}")
    bad = [report for report in reports if report.errors or (strict and report.findings)]
    if as_json:
        shown = [report.model_dump(mode="json") for report in reports]
        typer.echo(json.dumps({"reports": shown, "missing": absent}, indent=1))
    else:
        for name in absent:
            typer.echo(f"missing   {name}: build it with: harness env build")
        typer.echo(f"{len(reports) - len(bad)} of {len(reports)} images pass")
    if bad or not reports:
        raise typer.Exit(1)


def prune(
    budget: Annotated[
        str | None, typer.Option("--disk-budget", help="What may stay: 40GB, 500MiB.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove all that is not in use.")
    ] = False,
    sandbox: Annotated[
        Literal["docker", "process", "all"], typer.Option(help="Whose images.")
    ] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, remove nothing.")] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Remove images, toolchain volumes and archives, least recently used first, to fit a budget.

    Only what this project made or pulled. What is in use, or what an image that stays needs, stays;
    a shared layer is freed when nothing has it any more.

    \b
    Examples:
      harness env prune --disk-budget 40GB --dry-run
      harness env prune --all --sandbox process
    """
    from harness.environments.inventory import docker_items, process_items
    from harness.environments.prune import PruneReport, parse_size
    from harness.environments.prune import prune as prune_items

    if (budget is None) != everything:
        raise typer.BadParameter("give either --disk-budget SIZE or --all")

    def collect() -> "tuple[list[Item], list[str]]":
        items, foreign = ([], []) if sandbox == "process" else docker_items()
        return items + (process_items() if sandbox != "docker" else []), foreign

    report: PruneReport = prune_items(collect, parse_size(budget) if budget else 0, dry_run=dry_run)
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        for each in report.removed:
            what = each.error or f"{each.freed_bytes / 1e6:9.1f} MB"
            typer.echo(f"{what}  {each.kind:<8} {each.name}")
        for name in report.kept_in_use:
            typer.echo(f"   in use     {name}")
        verb = "would take" if dry_run else "take"
        typer.echo(
            f"images {verb} {report.after_bytes / 1e9:.2f} GB ({report.before_bytes / 1e9:.2f})"
        )
    if report.after_bytes > report.budget_bytes and budget:
        raise typer.Exit(1)
