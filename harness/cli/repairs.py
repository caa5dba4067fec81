"""`harness datagen repairs`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION


def repairs(
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    corpus: Annotated[
        Path | None, typer.Option(help="The corpus's manifest; by default manifests/corpora.")
    ] = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Make synthetic repairs of functions of pinned packages: what small models are trained on.

    Source distributions come from the package index once; nothing of them is run.

    \b
    Example:
      harness datagen repairs --out corpus.parquet
    """
    from harness.datagen.repairs import CorpusError, load_manifest, write_corpus
    from harness.environments.source import SourceError
    from harness.records.cache import cache_root
    from harness.suites.manifests import manifests_root

    path = corpus or manifests_root() / "corpora" / "repairs.yaml"
    try:
        counts = write_corpus(load_manifest(path), cache_root(), out)
    except (CorpusError, SourceError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(counts))
        return
    for name, count in counts.items():
        typer.echo(f"{name}: {count} functions")
    typer.echo(f"{out}: {sum(counts.values())} functions")
