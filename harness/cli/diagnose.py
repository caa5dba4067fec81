"""`harness diagnose`."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


def diagnose(
    config: Annotated[
        Path,
        typer.Argument(
            help="A configuration of `harness train`, or the folder that a training wrote.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="A folder.", show_default=False)],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the configuration."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Trajectories; all if left out.", show_default=False)
    ] = None,
    states: Annotated[int, typer.Option(min=1, help="Reference states of a trajectory.")] = 12,
    rollouts: Annotated[
        int, typer.Option(min=0, help="Teacher's continuations of each, for α; 0: no α.")
    ] = 0,
    length: Annotated[int, typer.Option(min=1, help="Tokens of such a continuation.")] = 128,
    anchors: Annotated[
        int, typer.Option(min=0, help="States of a trajectory with segments; 0: none.")
    ] = 0,
    segments: Annotated[int, typer.Option(min=2, help="Of each model at an anchor.")] = 8,
    segment_length: Annotated[int, typer.Option(min=1, help="Tokens of a segment.")] = 64,
    returns: Annotated[
        Path | None,
        typer.Option(help="What the rollouts of reference_states.jsonl came to (Parquet)."),
    ] = None,
    outcomes: Annotated[
        Path | None, typer.Option(help="What resets.jsonl came to (Parquet).")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Another student's diagnosis: adds the gains on it, by decile of ρ."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would do, and stop.")
    ] = False,
) -> None:
    """Measure what a distillation's gates see, and whether it holds. The same command continues.

    \b
    Examples:
      harness diagnose opd.yaml --out diagnosis --limit 50 --dry-run
      harness diagnose trained/chop --out diagnosis --rollouts 64 --anchors 4
      harness diagnose opd.yaml --out diagnosis --returns graded.parquet
      harness diagnose trained/chop --out diagnosis --baseline diagnosis-opd
    """
    if find_spec("torch") is None:
        raise typer.BadParameter("a diagnosis needs torch: pip install 'swe-harness[train]'")
    command = [sys.executable, "-m", "trainers.diagnose", str(config), "--out", str(out)]
    options = {
        "--limit": limit,
        "--states": states,
        "--rollouts": rollouts,
        "--length": length,
        "--anchors": anchors,
        "--segments": segments,
        "--segment-length": segment_length,
        "--returns": returns,
        "--outcomes": outcomes,
        "--baseline": baseline,
        "--seed": seed,
    }
    for name, value in options.items():
        command += [] if value is None else [name, str(value)]
    for one in change or []:
        command += ["--set", one]
    command += ["--dry-run"] * dry_run
    code = subprocess.run(command, check=False).returncode
    if code:
        raise typer.Exit(code if code > 0 else 128 - code)
    if not dry_run:
        from harness.reports.diagnostics import write_diagnosis

        typer.echo(write_diagnosis(out))
