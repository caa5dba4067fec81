"""`harness datagen triples`."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION
from harness.cli.environment_options import REPOS_OPTION


def triples(
    runs: Annotated[list[Path], typer.Argument(help="Runs of the teacher on training instances.")],
    pi: Annotated[Path, typer.Option(help="Of `harness pi extract`.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    filter_manifest: Annotated[
        Path | None, typer.Option("--filter", help="filter.json of `harness leakage filter`.")
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option("--evaluation", "-e", help="Or the suite to keep away from.")
    ] = None,
    evaluation_rows: Annotated[
        Path | None, typer.Option(help="Local rows of a suite that fixes ids only.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --evaluation: no repository of it.")
    ] = False,
    no_filter: Annotated[
        bool, typer.Option("--no-filter", help="Filter nothing; the rows say so.")
    ] = False,
    source: Annotated[
        list[str] | None, typer.Option(help="Only these PI sources; may be repeated.")
    ] = None,
    empty_share: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Rows without PI, of all.")
    ] = 0.4,
    min_similarity: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of an edit that is not rewritten to the gold.")
    ] = 0.8,
    tokenizer: Annotated[
        Path | None, typer.Option(help="tokenizer.json of the teacher, for token offsets.")
    ] = None,
    repos: REPOS_OPTION = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Make PI adapter training rows: (state, PI text, expert action), Parquet and a card.

    Instances that the leakage filter rejects are refused. Each model call that is no row is
    counted with its reason in triples.json.

    \b
    Examples:
      harness datagen triples runs/teacher --pi pi.jsonl --filter filtered/filter.json --out t
      harness datagen triples runs/teacher --pi pi.jsonl -e swe-bench-verified --out t
    """
    from harness.datagen.snapshots import Snapshots
    from harness.datagen.triples import make_triples
    from harness.datagen.triples_gate import make_gate
    from harness.datagen.triples_pi import PITexts
    from harness.datagen.triples_spans import TokenSpans
    from harness.environments.known_recipes import known_recipes
    from harness.records.cache import cache_root
    from pi_extractors.records import SourceName
    from pi_extractors.tokens import Estimate, TokenizerFile

    for name in source or ():
        if name not in set(SourceName):
            raise typer.BadParameter(f"{name!r}: one of {', '.join(SourceName)}")
    gate = make_gate(
        filter_manifest, evaluation, strict=strict, waived=no_filter, rows=evaluation_rows
    )
    snapshots = Snapshots(repos=repos, recipes=known_recipes(), cache=cache_root())
    texts = PITexts(
        pi,
        [SourceName(name) for name in source] if source else None,
        snapshots,
        TokenizerFile(tokenizer) if tokenizer else Estimate(),
    )
    try:
        report = make_triples(
            runs,
            texts,
            gate,
            out,
            empty_share=empty_share,
            min_similarity=min_similarity,
            spans=TokenSpans(tokenizer) if tokenizer else None,
            on_progress=lambda text: typer.echo(text, err=True),
        )
    finally:
        texts.close()
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    for name, counts in report.sources.items():
        typer.echo(
            f"{name}: {counts.rows} rows, {counts.given} with PI, {counts.empty} empty anyway, "
            f"{counts.blanked} blanked"
        )
    dropped = ", ".join(f"{reason} {count}" for reason, count in report.dropped.items())
    unused = ", ".join(f"{reason} {count}" for reason, count in report.unused_attempts.items())
    typer.echo(
        f"{report.expert_calls} of {report.calls} model calls have an expert action; others: "
        f"{dropped or 'none'}; attempts not used: {unused or 'none'}"
    )
    typer.echo(str(out / "README.md"))
