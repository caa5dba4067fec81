"""`harness datagen instances`."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.common import JSON_OPTION


def instances(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="NAME==VERSION, an sdist (.tar.gz), a git folder or URL (also @REVISION), or a "
            "manifest (.yaml) of sources and settings.",
            metavar="SOURCE...",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of rows, recipes and yields.")],
    operators: Annotated[
        str | None, typer.Option(help="Comma-separated; default: all that apply.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Instances of a package, at most [default: 40].")
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="Tried of a package, at most [default: 400].")
    ] = None,
    most_failing: Annotated[
        int | None,
        typer.Option(min=1, help="Test functions that may fail with a bug [default: 20]."),
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Of the order of candidates.")] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help="A model's OpenAI-compatible server [default: $HARNESS_BASE_URL]."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Its name [default: the first served].")] = None,
    statements: Annotated[
        Literal["template", "model"] | None, typer.Option(help="Who writes problem statements.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Sandboxes at a time.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the candidates, run nothing.")
    ] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Make SWE-bench instances of any Python package: bugs that its own tests show.

    The environment is inferred and proven by running the tests. Every candidate runs in a sandbox
    without network, three times. The same command continues what was interrupted, and writes the
    same rows.

    \b
    Examples:
      harness datagen instances xmltodict==1.0.4 --out made --dry-run
      harness datagen instances xmltodict==1.0.4 parse==1.22.4 --out made --limit 20
      harness datagen instances ./my-clone@v2.1 --out made --operators commit,guard
      harness datagen instances manifests/synthesis/pypi.yaml --out made --workers 2
      harness datagen instances parse==1.22.4 --out made --operators model --endpoint http://…/v1
      harness eval -s made/instances.jsonl -m gold -p embedded
    """
    from harness.agents.base import Decoding
    from harness.config import ModelConfig
    from harness.datagen.synthesis.manifest import load_order
    from harness.datagen.synthesis.others import Others
    from harness.datagen.synthesis.suite import (
        count_candidates,
        keep_statement,
        summary,
        synthesise,
    )
    from harness.datagen.synthesis.writer import ModelWriter
    from harness.environments.known_recipes import known_recipes
    from harness.records.cache import cache_root
    from harness.rollouts.models import serve_model
    from harness.sandboxes import make_provider

    chosen = tuple(operators.split(",")) if operators else None
    given = {
        "operators": chosen,
        "instances": limit,
        "candidates": candidates,
        "most_failing": most_failing,
        "seed": seed,
        "statements": statements,
    }
    order = load_order(sources, {key: value for key, value in given.items() if value is not None})
    found = order.find(cache_root())
    if dry_run:
        others = Others(order.settings, None)
        counts = count_candidates(found, order.settings, cache_root(), others)
        for name, count in counts.items():
            line = {"source": name, "candidates": count.total(), "operators": dict(count)}
            text = ", ".join(f"{key} {value}" for key, value in sorted(count.items()))
            typer.echo(json.dumps(line) if as_json else f"{name}: {count.total()} ({text})")
        return
    asked = bool(endpoint) or statements == "model" or "model" in (chosen or ())
    with ExitStack() as stack:
        writer = None
        if asked or order.settings.statements == "model":
            config = ModelConfig(kind="endpoint", base_url=endpoint, name=model)
            served = stack.enter_context(serve_model(config, Decoding(), out, ()))
            writer = stack.enter_context(ModelWriter(served.endpoint, out / "model"))
        results = synthesise(
            found,
            order.settings,
            out,
            known=known_recipes(),
            provider=make_provider("process"),
            cache=cache_root(),
            workers=workers,
            more=Others(order.settings, writer),
            reword=writer.reworded
            if writer and order.settings.statements == "model"
            else keep_statement,
            on_progress=lambda line: typer.echo(line, err=True),
        )
    stats = summary(results)
    if as_json:
        typer.echo(json.dumps(stats, indent=1))
    else:
        for name, one in stats["operators"].items():
            typer.echo(f"{name}: {one.get('instance', 0)} instances of {one['tried']} candidates")
        typer.echo(f"{stats['instances']} instances in {out / 'instances.jsonl'}")
    if any(result.problem for result in results):
        raise typer.Exit(1)
