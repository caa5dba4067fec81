"""`harness study`."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure what a method rests on.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def estimators(
    out: Annotated[Path, typer.Option(help="A folder.", show_default=False)],
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="Runs of the student; may be repeated.", show_default=False),
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            help="Or text files, pieces of which the student continues; may be repeated.",
            show_default=False,
        ),
    ] = None,
    student: Annotated[
        str, typer.Option(help="A shipped name, a folder, or a hub id like org/name@revision.")
    ] = "repair-student",
    teacher: Annotated[
        str, typer.Option(help="Another; its tokeniser may be its own.")
    ] = "repair-teacher",
    limit: Annotated[int, typer.Option(min=1, help="Trajectories, drawn by a hash.")] = 1000,
    chunks: Annotated[int, typer.Option(min=1, help="Of a trajectory, at most.")] = 20,
    chunk_tokens: Annotated[int, typer.Option(min=1, help="Of a chunk.")] = 50,
    selection: Annotated[str, typer.Option(help="entropy or uniform.")] = "entropy",
    rollouts: Annotated[
        list[int] | None,
        typer.Option(min=2, help="Continuations; may be repeated. [default: 10, 20]"),
    ] = None,
    strength: Annotated[float, typer.Option(help="Of the prior, α.")] = 1.0,
    length_factor: Annotated[
        float, typer.Option(min=1, help="Tokens of a continuation for each of the chunk's.")
    ] = 1.0,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Of a piece of text.")] = 64,
    sampled_tokens: Annotated[int, typer.Option(min=1, help="Behind it, by the student.")] = 256,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """How well similarities of a teacher's continuations estimate its exact probability.

    Frequentist and Bayesian, for every similarity: mean squared error and correlation. The same
    command continues.

    \b
    Examples:
      harness study estimators --runs runs/rollout --chunk-tokens 3 --out study
      harness study estimators --student smollm2-135m --texts README.md --limit 50 --out study
    """
    if find_spec("torch") is None:
        raise typer.BadParameter("a study needs torch: pip install 'swe-harness[train]'")
    command = [sys.executable, "-m", "trainers.omniopd.study", "--out", str(out)]
    for name, values in {"--runs": runs, "--texts": texts, "--rollouts": rollouts}.items():
        command += [name, *map(str, values)] if values else []
    options = {
        "--student": student,
        "--teacher": teacher,
        "--limit": limit,
        "--chunks": chunks,
        "--chunk-tokens": chunk_tokens,
        "--selection": selection,
        "--strength": strength,
        "--length-factor": length_factor,
        "--prompt-tokens": prompt_tokens,
        "--sampled-tokens": sampled_tokens,
        "--dtype": dtype,
        "--device": device,
        "--seed": seed,
    }
    for option, value in options.items():
        command += [option, str(value)]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise typer.Exit(code if code > 0 else 128 - code)
