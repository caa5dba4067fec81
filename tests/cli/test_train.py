"""`harness train` starts the trainer in a process of its own."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.train import train
from harness.suites.manifests import manifests_root

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


def test_without_a_file_the_one_that_the_method_ships_with(commands: list[list[str]]) -> None:
    assert CliRunner().invoke(app, ["sod", "--set", "out=b"]).exit_code == 0
    config = manifests_root() / "methods" / "training" / "sod.yaml"
    expected = [str(config), "--method", "sod", "--set", "out=b"]
    assert commands == [[sys.executable, "-m", "trainers.train", *expected]]
    refused = CliRunner().invoke(app, ["sodd"])
    assert "no training method 'sodd'; did you mean 'sod'" in str(refused.exception)
    assert len(commands) == 1


def test_the_help_says_where_the_methods_are() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "harness train opd opd.yaml --dry-run" in text
    assert "`harness methods list`" in text
