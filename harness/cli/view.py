"""`harness view`."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    root: Annotated[Path, typer.Argument(help="A folder with runs, at any depth up to three.")],
    ledger: Annotated[
        Path | None, typer.Option(help="Of a CHOP training, for colours by ρ, κ and cell.")
    ] = None,
    pi: Annotated[Path | None, typer.Option(help="PI records, to stand beside attempts.")] = None,
    contexts: Annotated[
        Path | None, typer.Option(help="Contexts of every turn, as `harness datagen contexts`.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A tokenizer.json; default: the shipped model's.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Where labels are kept; default: ROOT/labels.sqlite.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 8765,
) -> None:
    """Look at runs in a browser: attempts, tokens, comparisons, labels. Serves this machine alone.

    \b
    Examples:
      harness view runs
      harness view pipelines/embedded/runs --pi pipelines/embedded/pi.jsonl \
        --ledger pipelines/embedded/students/chop-gold_patch-0/ledger
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

    for path in (root, ledger, pi, contexts, tokenizer):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
    index = Index(root, cache_root())
    count = index.refresh(_say)
    if not index.runs():
        raise FileNotFoundError(f"no run in {root}: expected run.yaml there or up to three below")
    sources = Sources(ledger=ledger, pi=pi, contexts=contexts, tokenizer=tokenizer)
    app = make_app(index, Labels(labels or root / "labels.sqlite"), sources, port=port)
    typer.echo(f"{len(index.runs())} runs, {count} attempts: http://127.0.0.1:{port}/", err=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def _say(done: int) -> None:
    if done % 1000 == 0:
        typer.echo(f"{done} attempts read", err=True)
