"""Options that the commands of `harness env` share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from harness.records import Instance

SandboxKind = Literal["docker", "process"]

SUITE_OPTION = Annotated[
    str, typer.Option("--suite", "-s", help="A shipped suite, file or hub id.")
]
ROWS_OPTION = Annotated[
    Path | None, typer.Option(help="Local rows of a suite that fixes ids only.")
]
INSTANCES_OPTION = Annotated[
    list[str] | None, typer.Option("--instance", "-i", help="Only these ids.")
]
KIND_OPTION = Annotated[SandboxKind, typer.Option("--sandbox", help="What the images are for.")]
REPOS_OPTION = Annotated[
    Path | None, typer.Option(help="Folder with local mirrors of the upstream repositories.")
]
LOCK_OPTION = Annotated[
    Path | None, typer.Option("--lock", help="The lock file; default: the suite's own.")
]


def select_instances(suite: str, rows: Path | None, ids: Sequence[str] | None) -> "list[Instance]":
    """The chosen instances of a suite."""
    from harness.suites.load import load_suite
    from harness.suites.select import select

    return list(select(load_suite(suite, rows=rows).instances, ids=ids or []))
