"""`harness view`."""

import sqlite3
from pathlib import Path
from typing import Annotated

import typer


def view(
    root: Annotated[Path, typer.Argument(help="A folder with runs, at any depth up to three.")],
    ledger: Annotated[
        Path | None,
        typer.Option(help="Of a CHOP training, or a folder of trainings: colours by ρ, κ, cell."),
    ] = None,
    pi: Annotated[Path | None, typer.Option(help="PI records, to stand beside attempts.")] = None,
    contexts: Annotated[
        Path | None, typer.Option(help="Contexts of every turn, as `harness datagen contexts`.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A tokenizer.json; default: the shipped model's.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Where labels are kept; default: labels.sqlite by the runs.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 8765,
) -> None:
    """Look at runs in a browser: attempts, tokens, comparisons, labels. Serves this machine alone.

    \b
    Examples:
      harness view runs
      harness view pipelines/embedded/runs --pi pipelines/embedded/pi.jsonl \
        --contexts pipelines/embedded/contexts.parquet --ledger pipelines/embedded/students
      harness view runs --labels criticality.sqlite --port 9000
    """
    try:
        import uvicorn

        from harness.viewer.app import make_app
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f"{error.name} is not installed: pip install 'swe-harness[view]'"
        ) from None
    from harness.records.cache import cache_root
    from harness.viewer.attempt import Sources
    from harness.viewer.index import Index
    from harness.viewer.labels import Labels
    from harness.viewer.tokens import find_ledgers

    for path in (root, ledger, pi, contexts, tokenizer):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
    labels = labels or (root.parent if (root / "run.yaml").exists() else root) / "labels.sqlite"
    inside = next((one for one in labels.resolve().parents if (one / "run.yaml").exists()), None)
    if inside is not None:
        raise typer.BadParameter(f"{labels} is in the run {inside}: keep labels beside the runs")
    index = Index(root, cache_root())
    count = index.refresh(_say)
    if not index.runs():
        raise FileNotFoundError(f"no run in {root}: expected run.yaml there or up to three below")
    ledgers = find_ledgers(ledger) if ledger else {}
    sources = Sources(ledgers, pi, contexts, tokenizer)
    try:
        kept = Labels(labels)
    except sqlite3.Error as error:
        raise typer.BadParameter(f"{labels}: {error}; --labels names another file") from None
    app = make_app(index, kept, sources, port=port)
    typer.echo(f"{len(index.runs())} runs, {count} attempts: http://127.0.0.1:{port}/", err=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def _say(done: int) -> None:
    if done % 1000 == 0:
        typer.echo(f"{done} attempts read", err=True)
