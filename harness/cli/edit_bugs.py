"""`harness datagen edits`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION


def edits(
    folder: Annotated[
        Path, typer.Argument(help="Folder with suite.yaml, e.g. manifests/suites/pypi-edits.")
    ],
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many instances of a package.")
    ] = None,
    repo: Annotated[list[str] | None, typer.Option(help="Only these repositories.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Packages at a time.")] = 2,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the candidates, run nothing.")
    ] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Build a suite of single-edit bugs that the packages' own tests show.

    Every candidate runs in a sandbox without network. The same command continues what was
    interrupted, and writes the same bytes.

    \b
    Examples:
      harness datagen edits manifests/suites/pypi-edits --dry-run
      harness datagen edits manifests/suites/pypi-edits --limit 10 --repo keleshev/schema
      harness datagen edits manifests/suites/pypi-edits
    """
    from harness.datagen.edit_bugs_suite import build_edit_suite, count_candidates
    from harness.environments.recipe import load_recipes
    from harness.records.cache import cache_root
    from harness.sandboxes import make_provider
    from harness.suites.manifests import manifests_root

    recipes = load_recipes(manifests_root() / "environments")
    if dry_run:
        counts = count_candidates(folder, recipes=recipes, cache=cache_root())
        for name, count in counts.items():
            typer.echo(json.dumps({name: count}) if as_json else f"{name}: {count} candidates")
        return
    results = build_edit_suite(
        folder,
        recipes=recipes,
        provider=make_provider("process"),
        cache=cache_root(),
        limit=limit,
        repos=tuple(repo or ()),
        workers=workers,
        on_progress=lambda line: typer.echo(line, err=True),
    )
    if as_json:
        typer.echo(json.dumps([json.loads(one.model_dump_json()) for one in results], indent=1))
        return
    for one in results:
        typer.echo(f"{one.repo}: {len(one.bugs)} instances, {one.tried} edits tried")
    typer.echo(f"{sum(len(one.bugs) for one in results)} instances")
