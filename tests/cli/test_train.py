"""`harness train` starts the trainer in a process of its own."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.train import train

METHODS = (
    "sft",
    "sequence-kd",
    "sampled-token-opd",
    "opd",
    "gkd",
    "top-k-lsm",
    "grpo",
    "opsd",
    "chop",
    "adapters",
)
app = typer.Typer()
app.command()(train)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would have been started; it fails with 2 as the trainer does."""
    started: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        started.append(command)
        return SimpleNamespace(returncode=2 if "missing.yaml" in command else 0)

    monkeypatch.setattr(subprocess, "run", run)
    return started


def test_one_process(commands: list[list[str]]) -> None:
    given = ["opd", "a.yaml", "--set", "seed=1", "--set", "out=b", "--dry-run"]
    assert CliRunner().invoke(app, given).exit_code == 0
    expected = ["a.yaml", "--method", "opd", "--set", "seed=1", "--set", "out=b", "--dry-run"]
    assert commands == [[sys.executable, "-m", "trainers.train", *expected]]


def test_several_processes(commands: list[list[str]]) -> None:
    CliRunner().invoke(app, ["sft", "a.yaml", "--processes", "4", "--skip-damaged"])
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    trainer = ["-m", "trainers.train", "a.yaml", "--method", "sft", "--skip-damaged"]
    assert commands == [[sys.executable, "-m", *torchrun, *trainer]]


def test_a_failure_is_passed_on(commands: list[list[str]]) -> None:
    assert CliRunner().invoke(app, ["sft", "missing.yaml"]).exit_code == 2


def test_the_help_names_every_method() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "harness train opd opd.yaml --dry-run" in text
    for name in METHODS:
        assert name in text
