"""`harness methods`."""

import json
from typing import Annotated, Any

import typer

from harness.cli.common import JSON_OPTION

app = typer.Typer(help="List methods to train and to evaluate.", no_args_is_help=True)


@app.command("list")
def list_methods(as_json: JSON_OPTION = False) -> None:
    """List every method: what it does, where it is from, what it needs and how to run it.

    \b
    Examples:
      harness methods list
      harness methods list --json
    """
    rows = [*_training(), *_evaluation()]
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    for kind, title in (("training", "Training"), ("evaluation", "Evaluation")):
        table = Table(title=title, title_justify="left")
        for column in ("method", "what it does", "source", "needs"):
            table.add_column(column, overflow="fold")
        of = [row for row in rows if row["kind"] == kind]
        for row in of:
            needs = ", ".join(row["needs"])
            table.add_row(row["name"], row["description"], row["source"], needs)
        Console().print(table)
    typer.echo(
        "train: harness train METHOD [CONFIG] --set out=… (harness methods show METHOD prints the "
        "configuration)\nevaluate: harness eval --method METHOD --suite SUITE"
    )


@app.command()
def show(
    method: Annotated[str, typer.Argument(help="A training method.", show_default=False)],
) -> None:
    """Print the configuration that a training method ships with.

    \b
    Examples:
      harness methods show minillm > minillm.yaml
    """
    from harness.config.training import load_training

    typer.echo(load_training(method).path.read_text(encoding="utf-8"), nl=False)


def _training() -> list[dict[str, Any]]:
    from harness.config.training import load_training, training_names

    return [
        {"name": one.name, "kind": "training"}
        | one.about.model_dump(mode="json")
        | {"run": f"harness train {one.name} --set out=DIR", "configuration": str(one.path)}
        for one in map(load_training, training_names())
    ]


def _evaluation() -> list[dict[str, Any]]:
    from harness.config import load_method, method_names

    rows = []
    for one in map(load_method, method_names()):
        profiles = [f"profile {name}" for name in one.profiles]
        rows.append(
            {
                "name": one.name,
                "kind": "evaluation",
                "title": one.title,
                "description": one.description,
                "source": f"agent {one.agent.kind}",
                "needs": [*(["a model"] if one.needs_model else []), *profiles],
                "run": f"harness eval --method {one.name}",
            }
        )
    return rows
