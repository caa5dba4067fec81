"""The `harness` command: sub-commands, and how errors reach the user."""

import sys

import typer

from harness import __version__
from harness.cli import (
    ask,
    controls,
    cost,
    datagen,
    diagnose,
    doctor,
    environments,
    evaluate,
    experiment,
    leakage,
    methods,
    pi,
    pipeline,
    replay,
    report,
    scores,
    study,
    suites,
    table,
    toolchain,
    train,
    view,
)

app = typer.Typer(
    name="harness",
    help="Evaluate coding agents on SWE-bench and generate training data from them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("eval")(evaluate.evaluate)
app.command("grade")(evaluate.grade)
app.command("ask")(ask.ask)
app.command("replay")(replay.replay)
app.command("report")(report.report)
app.command("compare")(scores.compare)
app.command("plan")(scores.plan)
app.command("train")(train.train)
app.command("diagnose")(diagnose.diagnose)
app.command("cost")(cost.cost)
app.command("pipeline")(pipeline.pipeline)
app.command("experiment")(experiment.experiment)
app.command("table")(table.table)
app.command("controls")(controls.controls)
app.command("view")(view.view)
app.command("doctor")(doctor.doctor)
app.add_typer(methods.app, name="methods")
app.add_typer(suites.app, name="suites")
app.add_typer(environments.app, name="env")
app.add_typer(toolchain.app, name="toolchain")
app.add_typer(datagen.app, name="datagen")
app.add_typer(pi.app, name="pi")
app.add_typer(leakage.app, name="leakage")
app.add_typer(study.app, name="study")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line: bad input is one line on standard error and exit code 2."""
    from harness.cli.errors import USER_ERRORS
    from harness.rollouts.scheduler import Stopped

    try:
        app()
    except Stopped:
        typer.echo("stopped; the same command continues", err=True)
        sys.exit(130)
    except USER_ERRORS as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
