"""`harness env`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.common import JSON_OPTION

if TYPE_CHECKING:
    from harness.environments.prune import Item
    from harness.environments.verify import Verified
    from harness.records import Instance

SandboxKind = Literal["docker", "process"]

_SUITE = Annotated[str, typer.Option("--suite", "-s", help="A shipped suite, file or hub id.")]
_ROWS = Annotated[Path | None, typer.Option(help="Local rows of a suite that fixes ids only.")]
_INSTANCES = Annotated[list[str] | None, typer.Option("--instance", "-i", help="Only these ids.")]
_KIND = Annotated[SandboxKind, typer.Option("--sandbox", help="What the images are for.")]
_REPOS = Annotated[
    Path | None, typer.Option(help="Folder with local mirrors of the upstream repositories.")
]
_LOCK = Annotated[
    Path | None, typer.Option("--lock", help="The lock file; default: the suite's own.")
]
_DIFFERENCES = 10

app = typer.Typer(
    help="Build, pin, verify, lint and remove the images that instances run in.",
    no_args_is_help=True,
)


@app.command()
def build(
    suite: _SUITE,
    rows: _ROWS = None,
    repos: _REPOS = None,
    instance: _INSTANCES = None,
    sandbox: _KIND = "docker",
    force: Annotated[bool, typer.Option("--force", help="Build again what is there.")] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Build images from recipes: from mirrors of the upstream history, or from pinned sdists.

    Docker images are tagged as upstream tags them. What is there already is kept.

    \b
    Examples:
      harness env build -s rows.jsonl --repos ~/mirrors -i psf__requests-6028
      harness env build -s pypi-mini/test
      harness env build -s pypi-mini --sandbox process
    """
    from harness.environments.images import build_all

    results = build_all(
        _select(suite, rows, instance),
        kind=sandbox,
        repos=repos,
        force=force,
        on_progress=_progress,
    )
    failed = [result for result in results if result.status == "failed"]
    if as_json:
        typer.echo(json.dumps([result.model_dump() for result in results], indent=1))
    else:
        for result in results:
            detail = result.error or f"{result.seconds:.1f} s  {result.digest[:19]}"
            typer.echo(f"{result.status:<8} {result.instance_id:<40} {detail}")
        typer.echo(f"{len(results) - len(failed)} of {len(results)} images are there")
    if failed:
        raise typer.Exit(1)


@app.command()
def pin(
    suite: _SUITE,
    rows: _ROWS = None,
    instance: _INSTANCES = None,
    sandbox: _KIND = "docker",
    lock: _LOCK = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Write down what images hold: digests, packages, hashes of /testbed, git and environment.

    Images are read from outside; nothing of them runs. Rows of other instances stay in the lock.

    \b
    Examples:
      harness env pin -s pypi-mini --sandbox process
      harness env pin -s rows.jsonl -i psf__requests-6028 --lock requests.jsonl
    """
    from harness.environments.images import present_images
    from harness.environments.lock import Lock, load_lock
    from harness.environments.pin import pin as pin_image

    instances = _select(suite, rows, instance)
    path = lock or _default_lock(suite, sandbox)
    pinned = load_lock(path) if path.exists() else Lock()
    images = present_images(instances, sandbox)
    for each in instances:
        if each.instance_id in images:
            _progress(f"{each.instance_id}: reading")
            pinned = pinned.with_row(*pin_image(each, images[each.instance_id], sandbox))
    pinned.save(path)
    absent = [each.instance_id for each in instances if each.instance_id not in images]
    if as_json:
        typer.echo(json.dumps({"lock": str(path), "pinned": sorted(images), "missing": absent}))
    else:
        for name in absent:
            typer.echo(f"missing  {name}: build it with: harness env build")
        typer.echo(f"{len(images)} of {len(instances)} images pinned in {path}")
    if absent:
        raise typer.Exit(1)


@app.command()
def verify(
    suite: _SUITE,
    rows: _ROWS = None,
    repos: _REPOS = None,
    instance: _INSTANCES = None,
    sandbox: _KIND = "docker",
    lock: _LOCK = None,
    size: Annotated[
        int | None, typer.Option("--sample", min=1, help="At most so many, of many environments.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild/--no-rebuild", help="Build anew, or compare what is here.")
    ] = True,
    as_json: JSON_OPTION = False,
) -> None:
    """Rebuild images from their recipes and compare them with the lock, field by field.

    The rebuilt images and environments have names of their own and are removed afterwards.

    \b
    Examples:
      harness env verify -s pypi-mini --sandbox process --sample 3
      harness env verify -s rows.jsonl --repos ~/mirrors -i psf__requests-6028 --lock requests.jsonl
      harness env verify -s pypi-mini --no-rebuild
    """
    from harness.environments.images import present_images
    from harness.environments.lock import load_lock
    from harness.environments.verify import sample
    from harness.environments.verify import verify as verify_images

    path = lock or _default_lock(suite, sandbox)
    locked = load_lock(path)
    instances = _select(suite, rows, instance)
    if instance is None:
        instances = [each for each in instances if each.instance_id in locked.rows]
    if size is not None:
        instances = sample(instances, size)
    results: list[Verified] = []
    for result in verify_images(
        instances,
        sandbox,
        locked,
        present=present_images(instances, sandbox),
        repos=repos,
        anew=rebuild,
        on_progress=_progress,
    ):
        results.append(result)
        if not as_json:
            _show_verified(result)
    same = sum(result.status == "same" for result in results)
    if as_json:
        typer.echo(json.dumps([result.model_dump() for result in results], indent=1))
    else:
        how = "rebuilt as" if rebuild else "as"
        typer.echo(f"{same} of {len(results)} images are {how} {path.name} says")
    if same < len(results) or not results:
        raise typer.Exit(1)


@app.command()
def lint(
    suite: _SUITE,
    rows: _ROWS = None,
    instance: _INSTANCES = None,
    sandbox: _KIND = "docker",
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

    instances = _select(suite, rows, instance)
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


@app.command()
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


def _show_verified(result: "Verified") -> None:
    typer.echo(f"{result.status:<8} {result.instance_id:<40} {result.seconds:.1f} s {result.error}")
    for field in result.difference.fields if result.difference else ():
        typer.echo(f"  {field.field}: locked {field.locked[:27]}, found {field.found[:27]}")
        for detail in field.details[:_DIFFERENCES]:
            typer.echo(f"    {detail}")
        if len(field.details) > _DIFFERENCES:
            typer.echo(f"    and {len(field.details) - _DIFFERENCES} more")


def _select(suite: str, rows: Path | None, ids: Sequence[str] | None) -> "list[Instance]":
    from harness.suites.load import load_suite
    from harness.suites.select import select

    return list(select(load_suite(suite, rows=rows).instances, ids=ids or []))


def _default_lock(suite: str, kind: SandboxKind) -> Path:
    from harness.suites.manifests import manifests_root

    name = suite.partition("/")[0] if not Path(suite).is_file() else Path(suite).stem
    return manifests_root() / "locks" / f"{name}.{kind}.jsonl"


def _progress(line: str) -> None:
    typer.echo(line, err=True)
