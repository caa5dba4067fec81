"""`harness replay`."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.common import JSON_OPTION, parse_seeds

if TYPE_CHECKING:
    from harness.rollouts.replay_check import Replayed


def replay(
    run: Annotated[Path, typer.Argument(help="The recorded run's folder.", show_default=False)],
    instances: Annotated[
        list[str], typer.Argument(metavar="INSTANCE...", help="Ids.", show_default=False)
    ],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the recorded attempts.")] = 0,
    step: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The first turn that the model answers anew; left out, or beyond the last turn: "
            "none, and patch and verdict must be the recorded ones.",
            show_default=False,
        ),
    ] = None,
    live_seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds of the new answers: how many (3: 0, 1, 2), or a list (0,7).",
            show_default="the recorded one",
        ),
    ] = None,
    pi: Annotated[
        Literal["recorded", "none", "given", "empty"],
        typer.Option(help="What the repair agent is shown of PI."),
    ] = "recorded",
    pi_records: Annotated[
        Path | None, typer.Option(help="For --pi given: a file of `harness pi extract`.")
    ] = None,
    pi_source: Annotated[str | None, typer.Option(help="For --pi given: a source of it.")] = None,
    model: Annotated[str | None, typer.Option(help="Another model than the recorded one.")] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="LoRA adapter of the model; another model has none.")
    ] = None,
    allow_divergence: Annotated[
        bool,
        typer.Option(
            "--allow-divergence",
            help="Give recorded answers also where the agent asks something else.",
        ),
    ] = False,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Use images that `env lint` refuses.")
    ] = False,
    allow_unlocked: Annotated[
        bool, typer.Option("--allow-unlocked", help="Use images other than the recorded ones.")
    ] = False,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="Name under runs/; made from the options.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where the replay is kept.")] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show, run nothing.")
    ] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Run recorded attempts again from any turn, with or without PI, and grade them.

    Exit code 1: an attempt diverged, or an exact replay ended otherwise (turns, stop reason,
    patch, verdict).

    \b
    Examples:
      harness replay runs/pypi-mini-mini pallets__itsdangerous-9001
      harness replay runs/rollout pallets__click-80001 --seed 1 --step 2 --live-seeds 8
      harness replay runs/rollout pallets__click-80001 --step 1 --model repair-teacher
      harness replay runs/rollout pallets__click-80001 --step 1 --pi given \\
        --pi-records pi.jsonl --pi-source gold_patch
    """
    from harness.rollouts.replay import ReplayRequest
    from harness.rollouts.replay import replay as run_replay

    request = ReplayRequest(
        run=run,
        instances=tuple(instances),
        seed=seed,
        step=step,
        runs=runs,
        command=shlex.join(["harness", *sys.argv[1:]]),
        live_seeds=parse_seeds(live_seeds) if live_seeds else (),
        pi=pi,
        pi_records=pi_records,
        pi_source=pi_source,
        model=model,
        adapter=adapter,
        run_id=run_id,
        allow_divergence=allow_divergence,
        allow_leaks=allow_leaks,
        allow_unlocked=allow_unlocked,
    )
    folder, replayed = run_replay(request, dry_run=dry_run)
    for one in replayed:
        typer.echo(_line(one), err=as_json)
    exact = [one for one in replayed if one.exact]
    if exact:
        held = sum(one.held for one in exact)
        text = f"{held} of {len(exact)} exact replays ended as recorded"
        typer.echo(text, err=as_json)
    if as_json:
        lines = [one.model_dump(mode="json") | {"held": one.held} for one in replayed]
        typer.echo(json.dumps({"run": str(folder.root), "replayed": lines}, indent=1))
    if not all(one.held for one in replayed):
        raise typer.Exit(1)


def _line(one: "Replayed") -> str:
    before, after = one.recorded, one.replayed
    patch = "same patch" if one.same_patch else "another patch"
    verdict = f"verdict {after.verdict}, recorded {before.verdict}"
    if after.verdict == before.verdict:
        verdict = f"same verdict {after.verdict}"
    text = f"{one.instance_id} seed {one.seed}: {one.given} of {after.turns} turns given"
    text += f", {patch}, {verdict}"
    if (before.turns, before.stop_reason) != (after.turns, after.stop_reason) and one.exact:
        text += f", {after.stop_reason} at turn {after.turns}"
        text += f", recorded {before.stop_reason} at turn {before.turns}"
    for what in one.differences:
        text += f"\n  given all the same at {what}"
    return text if after.detail in ("", before.detail) else f"{text}\n  {after.detail}"
