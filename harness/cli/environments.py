"""`harness env`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import JSON_OPTION
from harness.cli.environment_care import lint, prune
from harness.cli.environment_options import (
    INSTANCES_OPTION,
    KIND_OPTION,
    LOCK_OPTION,
    REPOS_OPTION,
    ROWS_OPTION,
    SUITE_OPTION,
    SandboxKind,
    select_instances,
)

if TYPE_CHECKING:
    from harness.environments.verify import Verified

_DIFFERENCES = 10

app = typer.Typer(
    help="Build, pin, verify, lint and remove the images that instances run in.",
    no_args_is_help=True,
)


@app.command()
def build(
    suite: SUITE_OPTION,
    rows: ROWS_OPTION = None,
    repos: REPOS_OPTION = None,
    instance: INSTANCES_OPTION = None,
    sandbox: KIND_OPTION = "docker",
    force: Annotated[bool, typer.Option("--force", help="Build again what is there.")] = False,
    pull: Annotated[
        bool, typer.Option("--pull", help="Pull by tag, too, where there is no digest.")
    ] = False,
    registry: Annotated[
        str, typer.Option(help="Pull from this HOST[:PORT] instead of the default registry.")
    ] = "",
    as_json: JSON_OPTION = False,
) -> None:
    """Build images from recipes: from mirrors of the upstream history, or from pinned sdists.

    Docker images are tagged as upstream tags them. What is there already is kept. Images whose row
    or lock has a digest (name@sha256:…) are pulled where a registry has them, and built elsewhere.

    \b
    Examples:
      harness env build -s rows.jsonl --repos ~/mirrors -i psf__requests-6028
      harness env build -s pypi-mini/test
      harness env build -s pypi-mini --sandbox process
      harness env build -s rows.jsonl --pull --registry mirror.example:5000
    """
    from harness.environments.images import build_all

    results = build_all(
        select_instances(suite, rows, instance),
        kind=sandbox,
        repos=repos,
        force=force,
        pull=pull,
        registry=registry,
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
    suite: SUITE_OPTION,
    rows: ROWS_OPTION = None,
    instance: INSTANCES_OPTION = None,
    sandbox: KIND_OPTION = "docker",
    lock: LOCK_OPTION = None,
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

    instances = select_instances(suite, rows, instance)
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
    suite: SUITE_OPTION,
    rows: ROWS_OPTION = None,
    repos: REPOS_OPTION = None,
    instance: INSTANCES_OPTION = None,
    sandbox: KIND_OPTION = "docker",
    lock: LOCK_OPTION = None,
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
    instances = select_instances(suite, rows, instance)
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


app.command()(lint)
app.command()(prune)


def _show_verified(result: "Verified") -> None:
    typer.echo(f"{result.status:<8} {result.instance_id:<40} {result.seconds:.1f} s {result.error}")
    for field in result.difference.fields if result.difference else ():
        typer.echo(f"  {field.field}: locked {field.locked[:27]}, found {field.found[:27]}")
        for detail in field.details[:_DIFFERENCES]:
            typer.echo(f"    {detail}")
        if len(field.details) > _DIFFERENCES:
            typer.echo(f"    and {len(field.details) - _DIFFERENCES} more")


def _default_lock(suite: str, kind: SandboxKind) -> Path:
    from harness.suites.manifests import manifests_root

    name = suite.partition("/")[0] if not Path(suite).is_file() else Path(suite).stem
    return manifests_root() / "locks" / f"{name}.{kind}.jsonl"


def _progress(line: str) -> None:
    typer.echo(line, err=True)
