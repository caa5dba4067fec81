"""`harness compare` and `harness plan`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two runs or more, or a folder of runs.")],
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this run only; else every pair.")
    ] = None,
    common_only: Annotated[
        bool, typer.Option("--common-only", help="Leave out instances that only one run has.")
    ] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Compare runs on the same instances: paired bootstrap, McNemar, Holm over all pairs.

    \b
    Examples:
      harness compare runs/base runs/trained
      harness compare runs/demo --json
    """
    from harness.records import find_runs
    from harness.rollouts.finish import load_scored
    from harness.scoring.compare import compare_family
    from harness.scoring.render import comparison_table

    folders = [folder for path in runs for folder in find_runs(path)]
    if len(folders) < 2:
        raise typer.BadParameter("name at least two runs, or a folder with several")
    scored = {folder.root.name: load_scored(folder) for folder in folders}
    if len(scored) < len(folders):
        raise typer.BadParameter("two runs have the same folder name")
    if baseline and baseline not in scored:
        raise typer.BadParameter(f"{baseline!r} is none of: {', '.join(scored)}")
    family = compare_family(scored, baseline=baseline, common_only=common_only)
    if as_json:
        typer.echo(json.dumps([json.loads(one.model_dump_json()) for one in family], indent=1))
        return
    from rich.console import Console

    Console().print(comparison_table(family))


def plan(
    mde: Annotated[str, typer.Option(help="Smallest difference to detect: 3pp, 3%, or 0.03.")],
    base_rate: Annotated[str, typer.Option(help="Expected pass@1 of the weaker method.")] = "12%",
    correlation: Annotated[
        float | None, typer.Option(help="Of the two methods' verdicts; 0.5 unless given.")
    ] = None,
    discordance: Annotated[
        float | None, typer.Option(help="Instead: how often two attempts disagree.")
    ] = None,
    power: Annotated[float, typer.Option(help="Chance to find a difference of that size.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="Two-sided.")] = 0.05,
    comparisons: Annotated[int, typer.Option(min=1, help="Methods compared (Bonferroni).")] = 1,
    as_json: JSON_OPTION = False,
) -> None:
    """Say how many runs on how many instances show a difference in pass@1.

    \b
    Examples:
      harness plan --mde 3pp
      harness plan --mde 2pp --base-rate 20% --discordance 0.1 --comparisons 4
    """
    from rich.console import Console

    from harness.scoring import plan as planning
    from harness.scoring.render import plan_table

    result = planning.plan(
        _share(mde, "--mde"),
        _share(base_rate, "--base-rate"),
        correlation=correlation,
        discordance=discordance,
        power=power,
        alpha=alpha,
        comparisons=comparisons,
    )
    if as_json:
        typer.echo(result.model_dump_json(indent=1))
    else:
        Console().print(plan_table(result))


def _share(text: str, option: str) -> float:
    """`3pp`, `3%` and `0.03` are the same. Raises typer.BadParameter."""
    number = text.removesuffix("pp").removesuffix("%").strip()
    try:
        return float(number) / (1 if number == text else 100)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write 3pp, 3% or 0.03", param_hint=option) from None
