"""`harness train`."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


def _names() -> list[str]:
    from harness.config.training import training_names

    return training_names()


def train(
    method: Annotated[
        str,
        typer.Argument(
            help="One that `harness methods list` lists under training.",
            autocompletion=_names,
            show_default=False,
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Argument(
            help="A YAML file; the one that the method ships with if left out.", show_default=False
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key; may be repeated."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would do and need, and stop.")
    ] = False,
    skip_damaged: Annotated[
        bool,
        typer.Option("--skip-damaged", help="Continue from the newest checkpoint that is whole."),
    ] = False,
) -> None:
    """Train a student on recorded runs. The same command continues an interrupted training.

    \b
    Examples:
      harness train opd opd.yaml --dry-run
      harness train opd opd.yaml --set optimiser.steps=20 --set out=trained/opd-20
      harness train minillm --set out=trained/m --set student.model=Qwen/Qwen3-1.7B --dry-run
      harness train grpo grpo.yaml --processes 8 --set sharding=fsdp
    """
    if find_spec("torch") is None:
        raise typer.BadParameter("training needs torch: pip install 'swe-harness[train]'")
    if config is None:
        from harness.config.training import load_training

        config = load_training(method).path
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone"]
        launcher += ["--nproc-per-node", str(processes), "-m"]
    command = [*launcher, "trainers.train", str(config), "--method", method]
    for one in change or []:
        command += ["--set", one]
    command += ["--dry-run"] * dry_run + ["--skip-damaged"] * skip_damaged
    from harness.records.processes import end_with_parent

    code = subprocess.run(command, check=False, preexec_fn=end_with_parent).returncode
    if code:
        raise typer.Exit(code if code > 0 else 128 - code)
