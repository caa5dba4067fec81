"""`harness datagen triples`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.datagen.triples_gate import TriplesError
from pi_extractors.gold_patch import GoldPatchSource
from tests.conftest import make_instance
from tests.datagen.trajectories import Turn, edit, write_run
from tests.leakage.filter_suites import diff

RUN = CliRunner()


def test_triples_are_made_and_counted(tmp_path: Path) -> None:
    """With the filter waived; without a word about the filter nothing is made."""
    instance = make_instance(patch=diff("pkg/a.py"))
    run = write_run(
        tmp_path / "teacher", [(instance, 0, [Turn("Mend.", [edit("x\n", "y\n")]), Turn("Done.")])]
    )
    pi = tmp_path / "pi.jsonl"
    pi.write_text(GoldPatchSource().extract(instance).model_dump_json() + "\n")
    command = ["datagen", "triples", str(run), "--pi", str(pi), "--out", str(tmp_path / "out")]
    refused = RUN.invoke(app, command)
    assert isinstance(refused.exception, TriplesError)
    assert not (tmp_path / "out").exists()
    done = RUN.invoke(app, [*command, "--no-filter"])
    assert done.exit_code == 0, done.output
    assert "gold_patch: 1 rows, 1 with PI" in done.output
    assert "1 of 2 model calls have an expert action; others: no_call 1" in done.output
    assert json.loads((tmp_path / "out" / "triples.json").read_text())["gate"]["kind"] == "none"


@pytest.mark.parametrize("name", ["gold", "call-graph"])
def test_an_unknown_source_is_named(tmp_path: Path, name: str) -> None:
    """With the known ones."""
    options = ["--pi", "x", "--out", str(tmp_path), "--no-filter", "--source", name]
    done = RUN.invoke(app, ["datagen", "triples", str(tmp_path), *options])
    assert done.exit_code == 2
    assert "gold_patch" in done.output
