"""`harness study` starts the study in a process of its own."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from trainers.omniopd.study.__main__ import _parser


def test_the_study_gets_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        started.append(command)
        return SimpleNamespace(returncode=2)

    monkeypatch.setattr(subprocess, "run", run)
    given = "study estimators --out a --texts b --texts c --student d --rollouts 5 --rollouts 9"
    more = "--chunks 3 --chunk-tokens 4 --selection uniform --strength 0.5 --length-factor 1.5"
    last = "--prompt-tokens 6 --sampled-tokens 7 --dtype bfloat16 --seed 8 --limit 2 --device cpu"
    result = CliRunner().invoke(app, f"{given} {more} {last}".split())
    assert result.exit_code == 2  # a failure is passed on
    assert started[0][:3] == [sys.executable, "-m", "trainers.omniopd.study"]
    found = vars(_parser().parse_args(started[0][3:]))
    assert {name: str(found.pop(name)) for name in ("out", "teacher")} == {
        "out": "a",
        "teacher": "repair-teacher",
    }
    assert [str(path) for path in found.pop("texts")] == ["b", "c"]
    assert found == {
        "runs": None,
        "student": "d",
        "limit": 2,
        "chunks": 3,
        "chunk_tokens": 4,
        "selection": "uniform",
        "rollouts": [5, 9],
        "strength": 0.5,
        "length_factor": 1.5,
        "prompt_tokens": 6,
        "sampled_tokens": 7,
        "dtype": "bfloat16",
        "device": "cpu",
        "seed": 8,
    }
