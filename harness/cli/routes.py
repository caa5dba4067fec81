"""`harness datagen route`."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def route(
    ledger: Annotated[
        Path, typer.Argument(help="Of a CHOP training on the same attempts: <out>/ledger.")
    ],
    kind: Annotated[
        Literal["frozen", "quota", "depth", "oracle"],
        typer.Option(
            help="frozen: its decisions; quota: at other states by chance; depth: at others of the "
            "same tenth of a trajectory; oracle: by what the teacher's attempts resolved."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A Parquet file for method.route.path.")],
    seed: Annotated[int, typer.Option(help="Of quota and depth.")] = 0,
    plain: Annotated[
        Path | None, typer.Option(help="For oracle: the teacher's graded run without PI.")
    ] = None,
    with_pi: Annotated[
        Path | None, typer.Option(help="For oracle: its graded run with PI.")
    ] = None,
) -> None:
    """Make a route for a CHOP training: a control of its gates.

    \b
    Examples:
      harness datagen route trained/chop/ledger --kind quota --out quota.parquet
      harness datagen route trained/chop/ledger --kind oracle --plain runs/t --with-pi runs/t-pi \
        --out oracle.parquet
    """
    from harness.datagen.routes import by_outcome, misplaced, read_ledger, write_route
    from harness.records import find_runs
    from harness.rollouts.finish import load_scored
    from harness.scoring.scores import by_instance, resolved_shares

    def shares(run: Path | None) -> dict[str, float]:
        if run is None:
            raise typer.BadParameter("oracle needs --plain and --with-pi")
        rows = [row for each in find_runs(run) for row in load_scored(each) if row.graded]
        found = by_instance(rows)
        return dict(zip(found, resolved_shares(found), strict=True))

    decisions = read_ledger(ledger)
    if kind in ("quota", "depth"):
        decisions = misplaced(decisions, seed, by_depth=kind == "depth")
    elif kind == "oracle":
        decisions = by_outcome(decisions, shares(plain), shares(with_pi))
    write_route(decisions, out)
    untrusted = sum(not one.trusted for one in decisions.values()) / len(decisions)
    active = sum(one.pi_active for one in decisions.values()) / len(decisions)
    typer.echo(f"{len(decisions)} states, {untrusted:.1%} untrusted, {active:.1%} with PI: {out}")
